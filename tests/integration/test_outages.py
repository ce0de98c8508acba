"""An outage of one dependency, at the real server with two workers and forty clients that poll.

Health checks and requests that need only the other dependency keep their speed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.api import Api, Person, run_api
from tests.support.api_server import ApiServer
from tests.support.clocks import eventually, time_limit
from tests.support.frozen_postgres import frozen
from tests.support.proxy import LossyProxy, Stall
from tests.support.tokens import TokenIssuer
from tools.local_stack.postgres import Postgres
from tools.local_stack.processes import LOOPBACK

OUTAGE_SECONDS = 4
FIRST_SECONDS = 0.7  # after the begin of an outage, all threads that may wait for the dependency hang
FAST_SECONDS = 0.5  # on a busy machine; without a circuit breaker, the requests take 4 to 12 s

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture
def proxy(api: Api) -> Iterator[LossyProxy]:
    with LossyProxy(api.settings.aws_endpoint_url_dynamodb or "") as proxy:
        yield proxy


@pytest.fixture
def server(api: Api, proxy: LossyProxy, tmp_path: Path) -> Iterator[ApiServer]:
    variables = api.server_variables() | {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url}
    with ApiServer(tmp_path / "log", **variables) as server:
        yield server


@pytest.fixture
def people(api: Api) -> list[Person]:
    return [api.sign_up() for _ in range(40)]


def get(server: ApiServer, path: str, headers: dict[str, str]) -> int:
    with closing(HTTPConnection(LOOPBACK, server.port, timeout=30)) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status


class Clients:
    """Threads that send requests. `responses` has the status of each, with its begin and duration in seconds."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, path: Callable[[int], str], headers: dict[str, str]) -> list[tuple[int, float, float]]:
        responses: list[tuple[int, float, float]] = []

        def poll() -> None:
            while not self._is_over.is_set():
                began_at = time.monotonic()
                status = get(self._server, path(len(responses)), headers)
                responses.append((status, began_at, time.monotonic() - began_at))
                self._is_over.wait(0.1)

        self._threads.append(threading.Thread(target=poll))
        self._threads[-1].start()
        return responses

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


def warm(server: ApiServer, person: Person) -> None:
    """Send requests of a user until both workers have read the user from Postgres and cache it."""

    def user_reads() -> int:
        """The requests that read a user: the log shows their costs at Postgres."""
        return sum(bool(json.loads(line).get("postgres_requests")) for line in server.log.read_text().splitlines())

    both = user_reads() + 2
    assert eventually(lambda: get(server, "/api/message_groups", person.headers) == 200 and user_reads() == both)


def check_speed(
    server: ApiServer, pollers: list[Person], path: Callable[[int], str], other: Person, status: int
) -> None:
    """While the pollers get a 503, health checks and the requests to `path` are fast."""
    clients, stalled_at = Clients(server), time.monotonic() + FIRST_SECONDS
    inboxes = [clients.start(lambda n: "/api/message_groups", person.headers) for person in pollers]
    health = clients.start(lambda n: "/api/health-check", pollers[0].headers)
    others = clients.start(path, other.headers)
    time.sleep(OUTAGE_SECONDS)
    clients.stop()
    assert max(seconds for *_, seconds in health) < FAST_SECONDS
    assert {code for code, *_ in others} == {status}
    assert not [seconds for _, began_at, seconds in others if began_at > stalled_at and seconds > FAST_SECONDS]
    assert len(others) > 10
    assert {code for inbox in inboxes for code, began_at, _ in inbox if began_at > stalled_at} == {503}


def wait_for_recovery(server: ApiServer, person: Person) -> None:
    with time_limit(5):
        assert eventually(lambda: {get(server, "/api/message_groups", person.headers) for _ in range(8)} == {200})


def test_profiles_are_shown_while_dynamodb_hangs(
    api: Api, server: ApiServer, proxy: LossyProxy, people: list[Person]
) -> None:
    warm(server, people[0])
    proxy.choose = lambda operation: Stall.SILENT
    check_speed(server, people, lambda n: f"/api/users/@nobody-{n}/short", api.sign_up(), 404)
    proxy.choose = lambda operation: None
    wait_for_recovery(server, people[0])


@contextmanager
def hanging(issuer: TokenIssuer) -> Iterator[None]:
    issuer.responding.clear()
    try:
        yield
    finally:
        issuer.responding.set()


def test_profiles_are_shown_while_cognito_hangs_at_the_first_keys(
    api: Api, server: ApiServer, people: list[Person]
) -> None:
    with hanging(api.issuer):
        check_speed(server, people, lambda n: f"/api/users/@nobody-{n}/short", people[0], 404)
    wait_for_recovery(server, people[0])


def test_users_read_their_inbox_while_cognito_hangs_at_newcomers(
    api: Api, server: ApiServer, people: list[Person]
) -> None:
    tokens = [api.issuer.authorization(f"newcomer {number}") for number in range(len(people))]
    newcomers = [replace(person, authorization=token) for person, token in zip(people, tokens, strict=True)]
    warm(server, people[0])
    with hanging(api.issuer):
        check_speed(server, newcomers, lambda n: "/api/message_groups", people[0], 200)


def test_cached_users_read_their_inbox_while_postgres_refuses_connections(
    api: Api, server: ApiServer, people: list[Person], postgres_server: Postgres
) -> None:
    cached, newcomer = api.sign_up(), api.sign_up()
    warm(server, cached)
    postgres_server.stop()
    try:
        with time_limit(FAST_SECONDS):
            assert get(server, "/api/message_groups", newcomer.headers) == 503
        check_speed(server, people, lambda n: "/api/message_groups", cached, 200)
    finally:
        postgres_server.start()
    wait_for_recovery(server, newcomer)


def test_cached_users_read_their_inbox_while_postgres_hangs(
    api: Api, server: ApiServer, people: list[Person], postgres_server: Postgres
) -> None:
    cached = api.sign_up()
    warm(server, cached)
    with frozen(postgres_server):
        check_speed(server, people, lambda n: "/api/message_groups", cached, 200)
    wait_for_recovery(server, people[0])
