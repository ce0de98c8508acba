"""The API with a shared cache: processes share users, and an outage of the cache fails no request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import grpc
import pytest

from tests.support.api import Api, Person, ok, run_api
from tests.support.momento_server import KEY, MomentoServer, run_momento

api = pytest.fixture(scope="module")(run_api)
server = pytest.fixture(run_momento)


@pytest.fixture(autouse=True)
def long_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests measure no time, and a machine under load exceeds 50 ms."""
    monkeypatch.setattr("lib.cache.momento.SECONDS", 2)


@contextmanager
def process(api: Api, server: MomentoServer) -> Iterator[Api]:
    """Another process of the API, whose own cache is empty."""
    with api.variant(momento_api_key=KEY, momento_endpoint=server.url) as other:
        shared = other.app.extensions["dependencies"].users._cache._shared
        with closing(shared._cache):
            yield other


def profile(api: Api, person: Person) -> int:
    return api.app.test_client().get(f"/api/users/@{person.user.handle}/short").status_code


def test_second_process_finds_a_user_of_the_first(api: Api, server: MomentoServer) -> None:
    anna = api.sign_up()
    with process(api, server) as first:
        first.sign_in(anna.user).inbox()
        assert profile(first, anna) == 200
    api.execute("DELETE FROM users WHERE uuid = %s", anna.user.uuid)
    with process(api, server) as second:
        second.sign_in(anna.user).inbox()  # she is not in Postgres
        assert profile(second, anna) == 200
        assert ok(second.sign_in(anna.user).get("/api/unread")) == {"unread_count": 0}


@pytest.mark.parametrize("fault", [None, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED])
def test_outage_of_the_cache_is_one_warning_and_fails_no_request(
    api: Api, server: MomentoServer, fault: grpc.StatusCode | None
) -> None:
    anna, bert = api.couple()
    with process(api, server) as one:
        server.fault, server.seconds = fault, 0 if fault else 5
        people = [one.sign_in(person.user) for person in (anna, bert)]
        for person in people:
            person.inbox()
            assert profile(one, person) == 200
        people[0].write("Hello", to=bert)
        warnings = [line for line in one.lines() if line["level"] == "warning"]
        assert [line["event"] for line in warnings] == ["cache_unavailable"]
        assert KEY not in one.log.getvalue()


def test_malformed_key_does_not_prevent_the_start(api: Api, server: MomentoServer) -> None:
    anna = api.sign_up()
    with api.variant(momento_api_key="this is no key at all") as one:
        one.sign_in(anna.user).inbox()
        assert [line["reason"] for line in one.lines() if line["event"] == "cache_unavailable"] == ["key_unusable"]
        assert "no key at all" not in one.log.getvalue()
