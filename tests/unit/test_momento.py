"""Momento behind the interface of a cache, on a server that speaks its wire protocol."""

from __future__ import annotations

import base64
import json
import logging
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import grpc
import jwt
import pytest

from lib.cache.base import CacheUnavailable
from lib.cache.momento import FORGOTTEN_SECONDS, Momento, credentials
from lib.config import CacheSettings
from tests.support.momento_server import KEY, MomentoServer, momento

CELL = "cell-1.prod.example.com"
GLOBAL_KEY = jwt.encode({"t": "g"}, "a secret of Momento's, which we do not know")


@pytest.fixture
def server() -> Iterator[MomentoServer]:
    with momento() as running:
        yield running


def settings_of(server: MomentoServer, **others: str | int) -> CacheSettings:
    return CacheSettings(**{"momento_api_key": KEY, "momento_endpoint": server.url, **others})  # type: ignore[arg-type]


@contextmanager
def connected(server: MomentoServer, *, seconds: float = 0.05, **others: str | int) -> Iterator[Momento]:
    with closing(Momento(settings_of(server, **others), seconds=seconds)) as cache:
        yield cache


@pytest.fixture
def cache(server: MomentoServer) -> Iterator[Momento]:
    """Connected, as after the first call of a process."""
    with connected(server, seconds=5) as first:
        first.get("anything")
    with connected(server) as made:
        made.get("anything")
        yield made


def failure(cache: Momento) -> CacheUnavailable:
    with pytest.raises(CacheUnavailable) as raised:
        cache.get("key")
    return raised.value


def test_what_is_put_is_found_by_every_process(server: MomentoServer, cache: Momento) -> None:
    assert cache.get("key") is None
    cache.put("key", "Änna 🐻")
    assert cache.get("key") == "Änna 🐻"
    with connected(server) as other:
        assert other.get("key") == "Änna 🐻"


def test_threads_share_a_client(cache: Momento) -> None:
    def use(number: int) -> list[str | None]:
        cache.put(f"key-{number}", f"text-{number}")
        return [cache.get(f"key-{number}") for _ in range(20)]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(8))) == [[f"text-{number}"] * 20 for number in range(8)]


def test_it_is_remembered_for_the_seconds_of_the_settings(server: MomentoServer) -> None:
    with connected(server, momento_ttl_seconds=30) as cache:
        cache.put("key", "text")
        server.now += 29.9
        assert cache.get("key") == "text"
        server.now += 0.1
        assert cache.get("key") is None


def test_what_was_read_before_a_change_cannot_be_put_after_it(server: MomentoServer, cache: Momento) -> None:
    assert cache.get("key") is None  # a reader, who now asks Postgres
    with connected(server) as writer:
        writer.forget("key")
    cache.put("key", "old")
    assert cache.get("key") is None
    server.now += FORGOTTEN_SECONDS
    cache.put("key", "new")
    assert cache.get("key") == "new"
    cache.forget("key")
    assert cache.get("key") is None


def test_bytes_that_are_no_text_are_no_fault(server: MomentoServer, cache: Momento) -> None:
    cache.put("key", "text")
    entry = server.caches["cruddur"][b"key"]
    server.caches["cruddur"][b"key"] = type(entry)(b"\xff\xfe", entry.until)
    assert cache.get("key") == "\ufffd\ufffd"


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        (grpc.StatusCode.UNAVAILABLE, False),
        (grpc.StatusCode.UNAUTHENTICATED, True),
        (grpc.StatusCode.PERMISSION_DENIED, True),
        (grpc.StatusCode.NOT_FOUND, True),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_each_fault_is_one_error_after_one_call(
    server: MomentoServer, cache: Momento, status: grpc.StatusCode, permanent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server.fault = status
    server.calls.clear()
    with caplog.at_level(logging.DEBUG, logger="cruddur"):
        error = failure(cache)
    assert (error.permanent, server.calls) == (permanent, ["Get"])
    assert KEY not in f"{error} {error.reason} {error.__cause__!r}"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("call", ["Get", "SetIfNotExists", "Set"])
def test_a_slow_answer_is_not_waited_for(server: MomentoServer, cache: Momento, call: str) -> None:
    server.slow, server.seconds = {call}, 5
    calls = {"Get": cache.get, "SetIfNotExists": lambda key: cache.put(key, "text"), "Set": cache.forget}
    taken = []
    for _ in range(3):  # a machine under load can be late with anything
        began = time.perf_counter()
        with pytest.raises(CacheUnavailable) as raised:
            calls[call]("key")  # type: ignore[operator]
        taken.append(time.perf_counter() - began)
        assert (raised.value.reason, raised.value.permanent) == ("timeout_error", False)
    assert 0.04 < min(taken) < 0.1


def test_a_connection_that_is_never_made_is_not_waited_for() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent_settings = CacheSettings(
            momento_api_key=KEY, momento_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        began = time.perf_counter()
        with closing(Momento(silent_settings)) as cache:
            assert failure(cache).reason == "timeout_error"
    assert time.perf_counter() - began < 2


def test_a_server_that_is_not_there_is_told_at_once_and_found_again(server: MomentoServer) -> None:
    away = MomentoServer()
    away.caches["cruddur"] = {}
    with connected(away) as cache:
        assert (failure(cache).reason, failure(cache).permanent) == ("server_unavailable", False)
        with away.serving():
            wait_for(cache)


def wait_for(cache: Momento) -> None:
    """gRPC connects again by itself, after a second or so."""
    until = time.monotonic() + 20
    while True:
        try:
            cache.get("key")
        except CacheUnavailable:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


def test_a_wrong_key_and_a_missing_cache_are_permanent(server: MomentoServer) -> None:
    with connected(server, momento_api_key="another key altogether") as cache:
        assert (failure(cache).reason, failure(cache).permanent) == ("authentication_error", True)
    with connected(server, momento_cache_name="another") as cache:
        assert (failure(cache).reason, failure(cache).permanent) == ("not_found_error", True)


def test_a_key_of_the_first_version_says_where_it_is_good() -> None:
    wrapped = base64.b64encode(json.dumps({"endpoint": CELL, "api_key": "inner"}).encode()).decode()
    for name in ("momento_api_key", "momento_auth_token"):
        given = credentials(CacheSettings(**{name: wrapped}))  # type: ignore[arg-type]
        assert (given.cache_endpoint, given.port, given.auth_token) == (f"cache.{CELL}", 443, "inner")


def test_a_key_of_the_second_version_needs_its_endpoint() -> None:
    given = credentials(CacheSettings(momento_api_key=GLOBAL_KEY, momento_endpoint=f"https://{CELL}"))
    assert (given.cache_endpoint, given.control_endpoint) == (f"cache.{CELL}", f"control.{CELL}")
    assert (given.port, given.auth_token) == (443, GLOBAL_KEY)


@pytest.mark.parametrize(
    ("key", "endpoint"),
    [
        (GLOBAL_KEY, ""),
        (GLOBAL_KEY, f"https://{CELL}:8443"),
        ("not a key at all", ""),
        (base64.b64encode(b"not json at all!").decode(), ""),
        (base64.b64encode(b'["not an object"]').decode(), ""),
        (base64.b64encode(b'{"endpoint": "half of it"}').decode(), ""),
        (base64.b64encode(b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4").decode(), ""),
        (jwt.encode({"c": "half of it"}, "a secret of Momento's, which we do not know"), ""),
    ],
)
def test_a_key_that_is_good_nowhere_is_told_without_it(key: str, endpoint: str) -> None:
    with pytest.raises(CacheUnavailable) as raised:
        credentials(CacheSettings(momento_api_key=key, momento_endpoint=endpoint))
    assert (raised.value.reason, raised.value.permanent) == ("key_unusable", True)
    assert key not in str(raised.value)
    assert (raised.value.__cause__, raised.value.__suppress_context__) == (None, True)


def test_without_a_key_it_is_good_nowhere_as_well(server: MomentoServer) -> None:
    with connected(server, momento_api_key="") as cache:
        assert (failure(cache).reason, failure(cache).permanent) == ("key_missing", True)


def test_a_client_that_was_closed_is_made_anew(server: MomentoServer, cache: Momento) -> None:
    cache.close()
    cache.close()
    wait_for(cache)


def test_settings_are_shown_without_what_is_secret() -> None:
    settings = CacheSettings(momento_api_key=KEY, momento_auth_token=GLOBAL_KEY)
    assert "cruddur" in repr(settings)
    assert KEY not in repr(settings)
    assert GLOBAL_KEY not in repr(settings)


def test_the_key_of_today_goes_before_the_older_name(server: MomentoServer) -> None:
    with connected(server, momento_auth_token="not a key that is good here") as cache:
        assert cache.get("key") is None
    with connected(server, momento_api_key="", momento_auth_token=KEY) as cache:
        assert cache.get("key") is None
