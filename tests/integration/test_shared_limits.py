"""The counts of limits in a store that processes share: a real Redis, which also fails, hangs and returns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from redis import Redis

from tests.support.api import Api, Person, run_api
from tests.support.api_server import ApiServer
from tests.support.redis_server import RedisServer

UNREACHABLE = "rate_limit_store_unavailable"

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis.log") as redis:
        yield redis


@pytest.fixture
def process(api: Api, redis: RedisServer) -> Iterator[Api]:
    with api.variant(rate_limit_sends="3 per hour", rate_limit_storage_url=redis.url) as process:
        yield process


def send(sender: Person, receiver: Person) -> int:
    return sender.post({"message": "hi", "handle": receiver.user.handle}).status_code


def warnings(process: Api) -> list[str]:
    return [line["event"] for line in process.lines() if line["level"] in ("warning", "error")]


def send_until_refused(sender: Person, receiver: Person) -> int:
    """Send until a refusal; return how many sends succeeded."""
    for number in range(20):
        if (status := send(sender, receiver)) == 429:
            return number
        assert status == 200
    raise AssertionError("no limit")


def wait_until_counted_in(redis: RedisServer, process: Api, couple: tuple[Person, Person]) -> None:
    """Call the API until it counts in Redis again."""
    with closing(Redis(port=redis.port)) as client:
        for _ in range(100):
            send(*couple)
            if client.keys():
                return
            time.sleep(0.1)
    raise AssertionError("the API does not use Redis again")


def test_processes_share_the_count_and_the_state(api: Api, redis: RedisServer, process: Api) -> None:
    anna, bert = process.couple()
    with api.variant(
        rate_limit_sends="3 per hour", rate_limit_storage_url=redis.url.replace("redis", "valkey")
    ) as other:
        elsewhere = other.sign_in(anna.user)
        assert [send(anna, bert), send(elsewhere, bert), send(anna, bert)] == [200, 200, 200]
        refusals = [person.post({"message": "hi", "handle": bert.user.handle}) for person in (anna, elsewhere)]
        for refusal in refusals:
            assert (refusal.status_code, refusal.headers["RateLimit-Remaining"]) == (429, "0")
            assert 3_500 < int(refusal.headers["Retry-After"]) <= 3_600
        assert warnings(process) == warnings(other) == []


def test_concurrent_sends_of_two_servers_share_one_limit(api: Api, redis: RedisServer, tmp_path: Path) -> None:
    anna, bert = api.couple()
    variables = api.server_variables() | {"RATE_LIMIT_SENDS": "20 per hour", "RATE_LIMIT_STORAGE_URL": redis.url}
    with ApiServer(tmp_path / "one", **variables) as one, ApiServer(tmp_path / "two", **variables) as two:

        def run(server: ApiServer) -> int:
            with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
                headers = {**anna.headers, "Content-Type": "application/json"}
                connection.request(
                    "POST", "/api/messages", b'{"message": "hi", "handle": "%s"}' % bert.user.handle.encode(), headers
                )
                return connection.getresponse().status

        with ThreadPoolExecutor(8) as threads:
            statuses = list(threads.map(run, [one, two] * 20))
    assert (statuses.count(200), statuses.count(429)) == (20, 20)


def test_memory_counts_while_the_store_is_away(process: Api, redis: RedisServer) -> None:
    anna, bert = process.couple()
    assert send_until_refused(anna, bert) == 3
    redis.stop()
    assert send_until_refused(anna, bert) == 3  # the process counts by itself, from nothing
    assert send(bert, anna) == 200
    assert warnings(process) == [UNREACHABLE]
    redis.start()
    wait_until_counted_in(redis, process, process.couple())
    assert warnings(process) == [UNREACHABLE]
    assert [line["event"] for line in process.lines() if line["event"].endswith("_back")] == ["rate_limit_store_back"]


def test_hanging_store_delays_no_request_for_long(process: Api, redis: RedisServer) -> None:
    anna, bert = process.couple()
    people = [process.sign_up() for _ in range(8)]
    assert send(anna, bert) == 200
    redis.freeze()
    try:
        with ThreadPoolExecutor(8) as threads:  # all of them meet the outage
            started_at = time.monotonic()
            statuses = list(threads.map(lambda person: send(person, bert), people))
            assert time.monotonic() - started_at < 2
        assert statuses == [200] * 8
        started_at = time.monotonic()
        assert [send(anna, bert) for _ in range(3)] == [200] * 3
        assert send(anna, bert) == 429
        assert time.monotonic() - started_at < 1
        assert warnings(process) == [UNREACHABLE]
    finally:
        redis.thaw()
    wait_until_counted_in(redis, process, process.couple())


def test_api_starts_without_the_store(api: Api) -> None:
    with api.variant(rate_limit_sends="3 per hour", rate_limit_storage_url="redis://127.0.0.1:9") as process:
        anna, bert = process.couple()
        assert send_until_refused(anna, bert) == 3
        assert warnings(process) == [UNREACHABLE]
