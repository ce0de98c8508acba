"""The circuit breaker of the shared cache: the application goes on when the cache fails."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest

from lib.cache.base import Cache, CacheUnavailable
from lib.cache.shared import LONG_PAUSE_SECONDS, PAUSE_SECONDS, CircuitBreaker, shared_cache
from lib.config import ROOT, CacheSettings

OUTAGE = CacheUnavailable("server_unavailable", "away", permanent=False)
REFUSAL = CacheUnavailable("authentication_error", "no such key", permanent=True)


class Texts(Cache[str, str]):
    """A cache of text that fails as the test says, after what it says; `asked` counts the calls that came."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.failure: CacheUnavailable | None = None
        self.asked = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def get(self, key: str) -> str | None:
        self._begin()
        return self.texts.get(key)

    def put(self, key: str, value: str) -> None:
        self._begin()
        self.texts[key] = value

    def forget(self, key: str) -> None:
        self._begin()
        self.texts.pop(key, None)

    def _begin(self) -> None:
        self.asked += 1
        failure = self.failure
        self.meanwhile()
        if failure:
            raise failure


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def texts() -> Texts:
    return Texts()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(texts: Texts, clock: Clock, caplog: pytest.LogCaptureFixture) -> CircuitBreaker:
    caplog.set_level(logging.INFO, logger="cruddur")
    return CircuitBreaker(texts, timer=clock)


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (record.levelname, record.message, record.__dict__["fields"])
        for record in caplog.records
        if record.name == "cruddur"
    ]


def names(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of outages."""
    return [name for _, name, _ in events(caplog)]


def test_a_cache_that_answers_is_asked_each_time(
    cache: CircuitBreaker, texts: Texts, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put("key", "text")
    assert cache.get("key") == "text"
    cache.forget("key")
    assert cache.get("key") is None
    assert (texts.asked, events(caplog)) == (4, [])


def test_an_outage_is_one_warning_and_nobody_waits_for_it(
    cache: CircuitBreaker, texts: Texts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    texts.failure = OUTAGE
    for _ in range(10):
        assert cache.get("key") is None
        cache.put("key", "text")
        cache.forget("key")
    assert (texts.asked, texts.texts) == (1, {})
    assert events(caplog) == [("WARNING", "cache_unavailable", {"reason": "server_unavailable"})]
    for number in range(1, 4):
        clock.now = number * PAUSE_SECONDS
        cache.get("key")
        assert texts.asked == 1 + number
    assert names(caplog) == ["cache_unavailable"]


def test_the_end_of_an_outage_is_told_and_the_next_one_is_warned_of_again(
    cache: CircuitBreaker, texts: Texts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    texts.failure = OUTAGE
    cache.get("key")
    texts.failure = None
    clock.now += PAUSE_SECONDS
    cache.put("key", "text")
    assert cache.get("key") == "text"
    assert names(caplog) == ["cache_unavailable", "cache_back"]
    texts.failure = OUTAGE
    cache.put("key", "text")
    assert names(caplog) == ["cache_unavailable", "cache_back", "cache_unavailable"]


def test_a_refusal_is_left_alone_for_longer(
    cache: CircuitBreaker, texts: Texts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    texts.failure = REFUSAL
    cache.get("key")
    clock.now += LONG_PAUSE_SECONDS - 1
    cache.get("key")
    assert texts.asked == 1
    clock.now += 1
    cache.get("key")
    assert texts.asked == 2
    assert names(caplog) == ["cache_unavailable"]


def test_after_a_pause_one_request_tries_and_the_others_go_on(
    cache: CircuitBreaker, texts: Texts, clock: Clock
) -> None:
    texts.failure = OUTAGE
    cache.get("key")
    clock.now += PAUSE_SECONDS
    trying, going_on = Event(), Event()

    def hang() -> None:
        trying.set()
        assert going_on.wait(5)

    texts.meanwhile = hang
    with ThreadPoolExecutor(1) as threads:
        trier = threads.submit(cache.get, "key")
        assert trying.wait(5)
        assert [cache.get("key") for _ in range(20)] == [None] * 20
        assert texts.asked == 2
        going_on.set()
        assert trier.result() is None


def test_many_who_fail_at_once_warn_once(cache: CircuitBreaker, texts: Texts, caplog: pytest.LogCaptureFixture) -> None:
    texts.failure = OUTAGE
    barrier = Barrier(8)
    texts.meanwhile = lambda: barrier.wait(5)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(cache.get, "abcdefgh")) == [None] * 8
    assert names(caplog) == ["cache_unavailable"]


def test_an_answer_to_a_question_of_before_does_not_end_an_outage(
    cache: CircuitBreaker, texts: Texts, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_meanwhile() -> None:
        texts.meanwhile, texts.failure = (lambda: None), OUTAGE
        cache.get("another")

    texts.texts["key"] = "text"
    texts.meanwhile = fail_meanwhile
    assert cache.get("key") == "text"
    assert (cache.get("key"), names(caplog)) == (None, ["cache_unavailable"])


def test_a_bug_is_no_outage(cache: CircuitBreaker, texts: Texts) -> None:
    texts.meanwhile = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        cache.get("key")


def test_quiet_breaker_logs_no_outage_and_keeps_its_last_failure(
    texts: Texts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cache = CircuitBreaker(texts, quiet=True, timer=clock)
    texts.failure = OUTAGE
    cache.forget("key")
    texts.failure = None
    clock.now += PAUSE_SECONDS
    cache.forget("key")
    assert (cache.last_failure, caplog.records) == (OUTAGE, [])


def test_without_a_key_there_is_nothing_shared_and_nothing_of_momento_is_loaded() -> None:
    assert shared_cache(CacheSettings()) is None
    code = """
import json, sys
import app, lib.users.directory, lib.users.cache, lib.cache.shared
from lib.config import CacheSettings
assert lib.cache.shared.shared_cache(CacheSettings()) is None
print(json.dumps(sorted({"grpc", "momento", "google.protobuf"} & sys.modules.keys())))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_users_load_no_clients() -> None:
    code = """
import sys
import lib.users.directory
loaded = {"grpc", "momento", "psycopg", "boto3", "flask", "jwt"} & sys.modules.keys()
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
