"""The API with a cache that its processes share: what it saves, and that nobody notices when it is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import psycopg
import pytest

from tests.support.api import Api, Person, ok, run_api
from tests.support.momento_server import KEY, MomentoServer, run_momento

api = pytest.fixture(scope="module")(run_api)
server = pytest.fixture(run_momento)


@contextmanager
def process(api: Api, server: MomentoServer, *, key: str = KEY) -> Iterator[Api]:
    """Another process of the API, which knows nobody yet, beside those that share the cache."""
    with api.variant(momento_api_key=key, momento_endpoint=server.url) as other:
        shared = other.app.extensions["dependencies"].users._cache._shared
        try:
            yield other
        finally:
            shared._cache.close()


def profile(api: Api, person: Person) -> int:
    return api.app.test_client().get(f"/api/users/@{person.user.handle}/short").status_code


def connect(api: Api) -> None:
    """A first connection may take longer than a call may."""
    shared = api.app.extensions["dependencies"].users._cache._shared
    until = time.monotonic() + 20
    while shared.get("anything") is not None or shared._is_open:
        assert time.monotonic() < until
        shared._next_try = 0.0


def test_the_next_process_knows_a_user_of_the_first(api: Api, server: MomentoServer) -> None:
    anna = api.sign_up()
    with process(api, server) as first:
        connect(first)
        first.sign_in(anna.user).inbox()
        assert profile(first, anna) == 200
    with psycopg.connect(api.settings.database_url) as connection:
        connection.execute("DELETE FROM users WHERE uuid = %s", (anna.user.uuid,))
    with process(api, server) as second:
        connect(second)
        second.sign_in(anna.user).inbox()  # Postgres would not know her
        assert profile(second, anna) == 200
        assert ok(second.sign_in(anna.user).get("/api/unread")) == {"unread_count": 0}


@pytest.mark.parametrize("fault", [None, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED])
def test_a_cache_that_hangs_or_fails_is_one_warning_and_no_request(
    api: Api, server: MomentoServer, fault: grpc.StatusCode | None
) -> None:
    anna, bert = api.couple()
    with process(api, server) as one:
        connect(one)
        server.fault, server.seconds = fault, 0 if fault else 5
        people = [one.sign_in(person.user) for person in (anna, bert)]
        for person in people:
            person.inbox()
            assert profile(one, person) == 200
        people[0].write("Hello", to=bert)
        warnings = [line for line in one.lines() if line["level"] == "warning"]
        assert [line["event"] for line in warnings] == ["cache_unavailable"]
        assert KEY not in one.log.getvalue()


def test_a_start_with_a_key_that_is_good_nowhere_is_a_start(api: Api, server: MomentoServer) -> None:
    anna = api.sign_up()
    with api.variant(momento_api_key="this is no key at all") as one:
        one.sign_in(anna.user).inbox()
        assert [line["reason"] for line in one.lines() if line["event"] == "cache_unavailable"] == ["key_unusable"]
        assert "no key at all" not in one.log.getvalue()
