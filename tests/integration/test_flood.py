"""A flood of one user at the real server, with the processes of production: others go on, and the server stops."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from threading import Event

import pytest

from asgi import DELAY_SECONDS, MAX_REQUESTS_PER_TOKEN
from tests.support.api import Api, Person, run_api
from tests.support.api_server import ApiServer

WORKERS = 2

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture
def server(api: Api, tmp_path: Path) -> Iterator[ApiServer]:
    variables = api.server_variables() | {"WEB_CONCURRENCY": str(WORKERS), "RATE_LIMIT_SENDS": "5 per hour"}
    with ApiServer(tmp_path / "server.log", **variables) as server:
        yield server


def send(connection: http.client.HTTPConnection, sender: Person, receiver: Person) -> int:
    body = json.dumps({"message": "hi", "handle": receiver.user.handle})
    connection.request("POST", "/api/messages", body, {**sender.headers, "Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    return response.status


@contextmanager
def flood(server: ApiServer, sender: Person, receiver: Person, *, clients: int) -> Iterator[Counter[int]]:
    """Clients that send without a pause, each over its own connection; counts the statuses, 0 for a lost connection."""
    statuses: Counter[int] = Counter()
    stop = Event()

    def run() -> None:
        while not stop.is_set():
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
                try:
                    while not stop.is_set():
                        statuses[send(connection, sender, receiver)] += 1
                except (OSError, http.client.HTTPException):
                    statuses[0] += 1
                    stop.wait(0.05)

    with ThreadPoolExecutor(clients) as threads:
        for _ in range(clients):
            threads.submit(run)
        try:
            yield statuses
        finally:
            stop.set()


def test_flood_gets_few_refusals_and_others_go_on(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    carl, dora = api.couple()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        assert send(connection, carl, dora) == 200
        with flood(server, anna, bert, clients=40) as statuses:
            time.sleep(0.5)  # until the flood has used up its limit
            before, started_at, seconds = statuses[429], time.monotonic(), []
            while time.monotonic() < started_at + 3:
                connection.request("GET", "/api/message_groups", headers=carl.headers)
                response = connection.getresponse()
                response.read()
                assert response.status == 200
                seconds.append(time.monotonic() - started_at - sum(seconds))
            refusals = (statuses[429] - before) / (time.monotonic() - started_at)
    assert statuses.keys() == {200, 429}
    assert 5 <= statuses[200] <= 5 * WORKERS  # each process counts by itself
    assert refusals <= 1.1 * WORKERS / DELAY_SECONDS
    assert median(seconds) < DELAY_SECONDS / 5


def test_too_many_requests_at_a_time_lose_their_connections_and_the_server_stops_at_once(
    api: Api, server: ApiServer
) -> None:
    anna, bert = api.couple()
    with flood(server, anna, bert, clients=WORKERS * MAX_REQUESTS_PER_TOKEN + 50) as statuses:
        time.sleep(1.5)
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
            connection.request("GET", "/api/message_groups", headers=bert.headers)
            assert connection.getresponse().status == 200
        assert min(statuses[0], statuses[429]) > 0
        started_at = time.monotonic()
        server.stop()
        assert time.monotonic() - started_at < 5
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [line for line in lines if line["level"] not in ("info", "debug")] == []
    (stopped,) = [line for line in lines if line["event"] == "stopped"]
    assert stopped["killed_workers"] == 0
