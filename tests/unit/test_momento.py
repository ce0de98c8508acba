"""Momento's client, against a server that speaks Momento's wire protocol."""

from __future__ import annotations

import base64
import json
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import grpc
import jwt
import pytest

from lib.cache.base import CacheUnavailable
from lib.cache.momento import FORGOTTEN_SECONDS, Momento, credentials
from lib.config import CacheSettings
from lib.deadline import pause, tries
from tests.support.clocks import time_limit
from tests.support.momento_server import KEY, Entry, MomentoServer, run_momento

CELL = "cell-1.prod.example.com"
GLOBAL_KEY = jwt.encode({"t": "g"}, "a secret of Momento's, which we do not know")
CELL_KEY = base64.b64encode(json.dumps({"endpoint": CELL, "api_key": "inner"}).encode()).decode()
LONG_SECONDS = 5  # for a call in a test that does not measure time: a machine under load exceeds 50 ms

server = pytest.fixture(run_momento)


@contextmanager
def connected(server: MomentoServer, *, seconds: float = LONG_SECONDS, **settings: str | int) -> Iterator[Momento]:
    values = {"momento_api_key": KEY, "momento_endpoint": server.url, **settings}
    with closing(Momento(CacheSettings(**values), seconds=seconds)) as cache:  # type: ignore[arg-type]
        yield cache


@pytest.fixture
def cache(server: MomentoServer) -> Iterator[Momento]:
    with connected(server) as cache:
        yield cache


def failure(cache: Momento) -> tuple[str, bool]:
    with pytest.raises(CacheUnavailable) as raised:
        cache.get("key")
    return raised.value.reason, raised.value.permanent


def wait_for(cache: Momento) -> None:
    """gRPC connects again by itself, after a second or so."""
    for attempt in tries(20):
        with suppress(CacheUnavailable):
            cache.get("key")
            return
        pause(attempt)
    pytest.fail("no connection")


def test_threads_share_a_client_and_processes_share_values(server: MomentoServer, cache: Momento) -> None:
    def put_and_get(number: int) -> list[str | None]:
        assert cache.get(f"key-{number}") is None
        cache.put(f"key-{number}", f"Änna 🐻 {number}")
        with connected(server) as other:
            return [cache.get(f"key-{number}"), other.get(f"key-{number}")]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(put_and_get, range(8))) == [[f"Änna 🐻 {number}"] * 2 for number in range(8)]


def test_value_lives_for_the_seconds_of_the_settings(server: MomentoServer) -> None:
    with connected(server, momento_ttl_seconds=30) as cache:
        cache.put("key", "text")
        server.now += 29.9
        assert cache.get("key") == "text"
        server.now += 0.1
        assert cache.get("key") is None


def test_reader_of_an_old_value_cannot_put_it_after_a_change(server: MomentoServer, cache: Momento) -> None:
    with connected(server) as writer:
        writer.forget("key")
    cache.put("key", "old")
    assert cache.get("key") is None
    server.now += FORGOTTEN_SECONDS
    cache.put("key", "new")
    assert cache.get("key") == "new"
    cache.forget("key")
    assert cache.get("key") is None


def test_value_with_invalid_utf_8_is_no_error(server: MomentoServer, cache: Momento) -> None:
    server.caches["cruddur"][b"key"] = Entry(b"\xff\xfe", until=1)
    assert cache.get("key") == "\ufffd\ufffd"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "server_unavailable"),
        (grpc.StatusCode.UNAUTHENTICATED, "authentication_error"),
        (grpc.StatusCode.PERMISSION_DENIED, "permission_error"),
        (grpc.StatusCode.NOT_FOUND, "not_found_error"),
    ],
)
def test_failed_call_is_one_error_without_the_key_or_another_try(
    server: MomentoServer, cache: Momento, status: grpc.StatusCode, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.fault = status
    with pytest.raises(CacheUnavailable) as raised:
        cache.get("key")
    assert (raised.value.reason, server.calls) == (reason, ["Get"])
    assert raised.value.permanent == (status != grpc.StatusCode.UNAVAILABLE)
    assert KEY not in f"{raised.value} {reason} {raised.value.__cause__!r}"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("call", ["get", "put", "forget"])
def test_call_ends_at_its_deadline(server: MomentoServer, call: str) -> None:
    with connected(server, seconds=0.2) as cache:
        wait_for(cache)
        server.seconds = 5
        with time_limit(2), pytest.raises(CacheUnavailable) as raised:
            getattr(cache, call)(*(["key", "text"] if call == "put" else ["key"]))
        assert (raised.value.reason, raised.value.permanent) == ("timeout_error", False)


def test_attempt_to_connect_ends_at_the_deadline_of_its_call() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = CacheSettings(momento_api_key=KEY, momento_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with time_limit(2), closing(Momento(settings)) as cache:
            assert failure(cache) == ("timeout_error", False)


def test_client_finds_a_server_that_starts_later() -> None:
    server = MomentoServer()
    with connected(server) as cache:
        assert failure(cache) == ("server_unavailable", False)
        with server.serving():
            wait_for(cache)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("momento_api_key", "another key altogether", "authentication_error"),
        ("momento_api_key", "", "key_missing"),
        ("momento_cache_name", "another", "not_found_error"),
    ],
)
def test_wrong_key_or_cache_is_a_permanent_failure(server: MomentoServer, name: str, value: str, reason: str) -> None:
    with connected(server, **{name: value}) as cache:
        assert failure(cache) == (reason, True)


@pytest.mark.parametrize(
    "keys",
    [
        {"momento_api_key": CELL_KEY},
        {"momento_auth_token": CELL_KEY},
        {"momento_api_key": CELL_KEY, "momento_auth_token": GLOBAL_KEY},
    ],
)
def test_key_of_version_1_contains_its_endpoint(keys: dict[str, str]) -> None:
    provider = credentials(CacheSettings(**keys))  # type: ignore[arg-type]
    assert (provider.cache_endpoint, provider.port, provider.auth_token) == (f"cache.{CELL}", 443, "inner")


def test_key_of_version_2_needs_an_endpoint() -> None:
    provider = credentials(CacheSettings(momento_api_key=GLOBAL_KEY, momento_endpoint=f"https://{CELL}"))
    assert (provider.cache_endpoint, provider.control_endpoint) == (f"cache.{CELL}", f"control.{CELL}")
    assert (provider.port, provider.auth_token) == (443, GLOBAL_KEY)


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
def test_error_about_an_unusable_key_does_not_quote_it(key: str, endpoint: str) -> None:
    with pytest.raises(CacheUnavailable) as raised:
        credentials(CacheSettings(momento_api_key=key, momento_endpoint=endpoint))
    assert (raised.value.reason, raised.value.permanent) == ("key_unusable", True)
    assert key not in str(raised.value)
    assert (raised.value.__cause__, raised.value.__suppress_context__) == (None, True)


def test_closed_client_connects_again(cache: Momento) -> None:
    cache.get("key")
    cache.close()
    cache.close()
    wait_for(cache)


def test_settings_hide_their_secrets() -> None:
    shown = repr(CacheSettings(momento_api_key=KEY, momento_auth_token=GLOBAL_KEY))
    assert "cruddur" in shown
    assert KEY not in shown
    assert GLOBAL_KEY not in shown
