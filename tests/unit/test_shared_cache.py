"""The shared cache behind its circuit breaker: the application works on when the cache fails."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any
from unittest.mock import Mock, call

import pytest

from lib.cache.base import Cache, CacheUnavailable
from lib.cache.momento import Momento
from lib.cache.shared import LONG_PAUSE_SECONDS, PAUSE_SECONDS, OptionalCache, shared_cache
from lib.config import ROOT, CacheSettings
from tests.support.clocks import FrozenTime

OUTAGE = CacheUnavailable("server_unavailable", "away", permanent=False)
REFUSAL = CacheUnavailable("authentication_error", "no such key", permanent=True)


@pytest.fixture
def backend() -> Any:
    """The cache behind the breaker; each call returns "text"."""
    backend = Mock(spec=Cache)
    respond(backend, lambda *arguments: "text")
    return backend


def respond(backend: Any, effect: CacheUnavailable | Callable[..., object]) -> None:
    """Let each call from now on raise an error, or call a function."""
    for method in (backend.get, backend.put, backend.forget):
        method.side_effect = effect


@pytest.fixture
def clock() -> FrozenTime:
    return FrozenTime()


@pytest.fixture
def cache(backend: Any, clock: FrozenTime, caplog: pytest.LogCaptureFixture) -> OptionalCache:
    caplog.set_level(logging.INFO, logger="cruddur")
    return OptionalCache(backend, timer=clock.monotonic)


def test_calls_reach_the_cache(cache: OptionalCache, backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    cache.put("key", "value")
    assert cache.get("key") == "text"
    cache.forget("key")
    assert backend.mock_calls == [call.put("key", "value"), call.get("key"), call.forget("key")]
    assert caplog.messages == []


@pytest.mark.parametrize("first", ["get", "put", "forget"])
def test_outage_costs_one_call_a_pause_and_one_warning(
    first: str, cache: OptionalCache, backend: Any, clock: FrozenTime, caplog: pytest.LogCaptureFixture
) -> None:
    calls = {
        "get": lambda: cache.get("key"),
        "put": lambda: cache.put("key", ""),
        "forget": lambda: cache.forget("key"),
    }
    respond(backend, OUTAGE)
    for number in range(1, 4):
        assert calls[first]() is None
        for _ in range(10):
            assert [other() for other in calls.values()] == [None] * 3
        assert len(backend.mock_calls) == number
        clock.ahead += PAUSE_SECONDS
    [record] = caplog.records
    assert (record.levelname, record.message) == ("WARNING", "cache_unavailable")
    assert record.__dict__["fields"] == {"reason": "server_unavailable"}


def test_recovery_is_logged_and_the_next_outage_warns_again(
    cache: OptionalCache, backend: Any, clock: FrozenTime, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        respond(backend, OUTAGE)
        cache.get("key")
        respond(backend, lambda *arguments: "text")
        clock.ahead += PAUSE_SECONDS
        cache.put("key", "text")
        assert cache.get("key") == "text"
    assert caplog.messages == ["cache_unavailable", "cache_back"] * 2


def test_permanent_failure_has_a_longer_pause(cache: OptionalCache, backend: Any, clock: FrozenTime) -> None:
    respond(backend, REFUSAL)
    cache.get("key")
    clock.ahead += LONG_PAUSE_SECONDS - 1
    cache.get("key")
    assert len(backend.mock_calls) == 1
    clock.ahead += 1
    cache.get("key")
    assert len(backend.mock_calls) == 2


def test_one_caller_tries_after_a_pause_and_the_others_do_not_wait(
    cache: OptionalCache, backend: Any, clock: FrozenTime
) -> None:
    respond(backend, OUTAGE)
    cache.get("key")
    clock.ahead += PAUSE_SECONDS
    is_trying, others_are_done = Event(), Event()

    def hang(key: str) -> None:
        is_trying.set()
        assert others_are_done.wait(5)
        raise OUTAGE

    respond(backend, hang)
    with ThreadPoolExecutor(1) as threads:
        attempt = threads.submit(cache.get, "key")
        assert is_trying.wait(5)
        assert [cache.get("key") for _ in range(20)] == [None] * 20
        others_are_done.set()
        assert attempt.result() is None
    assert len(backend.mock_calls) == 2


def test_simultaneous_failures_are_one_warning(
    cache: OptionalCache, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    barrier = Barrier(8)

    def fail(key: str) -> None:
        barrier.wait(5)
        raise OUTAGE

    respond(backend, fail)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(cache.get, "abcdefgh")) == [None] * 8
    assert caplog.messages == ["cache_unavailable"]


def test_response_to_an_earlier_call_does_not_end_an_outage(
    cache: OptionalCache, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_meanwhile(key: str) -> str:
        respond(backend, OUTAGE)
        cache.get("another")
        return "text"

    respond(backend, fail_meanwhile)
    assert cache.get("key") == "text"
    assert (cache.get("key"), caplog.messages) == (None, ["cache_unavailable"])


def test_bug_is_no_outage(cache: OptionalCache, backend: Any) -> None:
    respond(backend, lambda key: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cache.get("key")


def test_quiet_breaker_logs_no_outage_and_keeps_its_last_failure(
    backend: Any, clock: FrozenTime, caplog: pytest.LogCaptureFixture
) -> None:
    cache = OptionalCache(backend, quiet=True, timer=clock.monotonic)
    respond(backend, OUTAGE)
    cache.forget("key")
    respond(backend, lambda key: None)
    clock.ahead += PAUSE_SECONDS
    cache.forget("key")
    assert (cache.last_failure, caplog.messages) == (OUTAGE, [])


@pytest.mark.parametrize(("for_script", "seconds"), [(False, 0.05), (True, 5)])
def test_request_waits_50_ms_for_momento_and_a_script_5_seconds(for_script: bool, seconds: float) -> None:
    cache = shared_cache(CacheSettings(momento_api_key="any"), for_script=for_script)
    assert cache
    assert isinstance(cache._cache, Momento)
    assert (cache._cache._seconds, cache._breaker._quiet) == (seconds, for_script)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import app, lib.cache.shared as s; assert s.shared_cache(s.CacheSettings()) is None", "grpc google.protobuf"),
        ("import lib.users.directory", "grpc psycopg boto3 flask jwt"),
    ],
)
def test_momento_is_imported_only_for_a_client(code: str, absent: str) -> None:
    check = f"{code}; import sys; assert not sys.modules.keys() & {{*'momento {absent}'.split()}}"
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)
