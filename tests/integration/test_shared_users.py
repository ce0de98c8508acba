"""The shared cache of users: it saves statements, shows changes, and its faults fail no lookup."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from lib.cache.momento import FORGOTTEN_SECONDS, Momento
from lib.cache.shared import PAUSE_SECONDS, CircuitBreaker
from lib.config import CacheSettings
from lib.postgres.database import Database
from lib.users.cache import CACHED_SECONDS
from lib.users.directory import Outcome, SignUp, User, UserDirectory, link_cognito_users
from tests.integration.test_users import AUGUSTSZ, pool_user
from tests.support.momento_server import KEY, MomentoServer, momento
from tools.seed.conversation import seed_users

ANNA = SignUp("sub-anna", "anna", "Anna Ann", "anna@example.com", email_verified=True)
PATIENT = 5  # seconds for a call, where a test is not about time


class CountingDatabase(Database):
    """Counts the statements that reach Postgres."""

    statements = 0
    after: Callable[[], object] | None = None

    def _run(self, path: str, values: dict[str, Any] | None) -> Any:
        self.statements += 1
        answer = super()._run(path, values)
        if after := self.after:
            self.after = None
            after()
        return answer


class Process:
    """What one process of the API knows of users; `now` is its time."""

    def __init__(self, url: str, settings: CacheSettings, *, seconds: float) -> None:
        self.now = 0.0
        self.database = CountingDatabase(url)
        self.momento = Momento(settings, seconds=seconds)
        self.cache = CircuitBreaker(self.momento, timer=self.time)
        self.users = UserDirectory(self.database, self.cache, timer=self.time)

    def time(self) -> float:
        return self.now

    def asks(self, *subs: str) -> tuple[list[User | None], int]:
        """Who they are, and how many statements that took."""
        before = self.database.statements
        found = [self.users.by_cognito_user_id(sub) for sub in subs]
        return found, self.database.statements - before

    def looks_at(self, *handles: str) -> tuple[list[User | None], int]:
        before = self.database.statements
        found = [self.users.profile(handle) for handle in handles]
        return found, self.database.statements - before


NewProcess = Callable[..., Process]


@pytest.fixture
def server() -> Iterator[MomentoServer]:
    with momento() as running:
        yield running


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    """A database with the seeded users, of whom Augustsz has signed up."""
    url = new_database()
    with Database(url) as database:
        database.script("db/schema.sql")
        seed_users(database)
        link_cognito_users(database, [pool_user("sub-1", "Augustsz")])
    return url


@pytest.fixture
def new_process(server: MomentoServer, url: str) -> Iterator[NewProcess]:
    """Makes processes on one database and one cache; each has clients of its own and remembers nothing at first."""
    with ExitStack() as stack:

        def make(*, seconds: float = PATIENT, **settings: Any) -> Process:
            given = CacheSettings(**{"momento_api_key": KEY, "momento_endpoint": server.url, **settings})
            process = Process(url, given, seconds=seconds)
            stack.enter_context(process.database)
            stack.callback(process.momento.close)
            return process

        yield make


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "cruddur"]


def test_a_user_is_read_from_postgres_once_for_all_processes(new_process: NewProcess) -> None:
    first, second = new_process(), new_process()
    assert first.asks("sub-1", "sub-1") == ([AUGUSTSZ] * 2, 1)
    assert second.asks("sub-1") == ([AUGUSTSZ], 0)
    assert first.looks_at("Augustsz", "Augustsz") == ([AUGUSTSZ] * 2, 1)
    assert second.looks_at("Augustsz") == ([AUGUSTSZ], 0)


def test_a_process_asks_the_cache_once_a_minute(server: MomentoServer, new_process: NewProcess) -> None:
    process = new_process()
    process.asks("sub-1")
    server.calls.clear()
    assert process.asks(*["sub-1"] * 10) == ([AUGUSTSZ] * 10, 0)
    assert server.calls == []
    process.now += CACHED_SECONDS
    assert process.asks("sub-1") == ([AUGUSTSZ], 0)
    assert server.calls == ["Get"]


def test_misses_are_not_cached(server: MomentoServer, new_process: NewProcess) -> None:
    process, other = new_process(), new_process()
    assert process.asks("sub-anna") == ([None], 1)
    assert process.looks_at("anna") == ([None], 1)
    assert server.entries() == {}
    user, outcome = other.users.provision(ANNA)
    assert outcome is Outcome.CREATED
    assert process.asks("sub-anna")[0] == process.looks_at("anna")[0] == [user]


def test_texts_that_no_row_can_hold_reach_neither_cache_nor_postgres(
    server: MomentoServer, new_process: NewProcess
) -> None:
    process = new_process()
    for text in ("a\0b", "\ud800", "x" * 256):
        assert process.asks(text) == process.looks_at(text) == ([None], 0)
    assert server.calls == []


def test_shared_cache_holds_no_id_no_email_and_only_hashed_keys(server: MomentoServer, new_process: NewProcess) -> None:
    process = new_process()
    process.users.provision(ANNA)
    server.now += FORGOTTEN_SECONDS
    process.asks("sub-anna")
    process.looks_at("anna")
    kept = server.entries()
    assert len(kept) == 2
    assert all(key.startswith(("cruddur:user:2:sub:", "cruddur:user:2:handle:")) for key in kept)
    assert "anna" not in "".join(kept)
    assert not [text for text in (b"sub-anna", b"@", KEY.encode()) if text in b"".join(kept.values())]


def test_another_process_sees_a_rename_after_a_minute(new_process: NewProcess) -> None:
    here, there = new_process(), new_process()
    for process in (here, there):
        process.asks("sub-1")
        process.looks_at("Augustsz")
    renamed = here.users.rename("Augustsz", handle="august", display_name="August the First")
    assert renamed == User(AUGUSTSZ.uuid, "august", "August the First")
    assert here.asks("sub-1")[0] == here.looks_at("august")[0] == [renamed]
    assert here.looks_at("Augustsz")[0] == [None]
    there.now += CACHED_SECONDS - 1
    assert there.asks("sub-1") == there.looks_at("Augustsz") == ([AUGUSTSZ], 0)
    assert there.users.by_handle("Augustsz") is None  # senders read Postgres each time
    there.now += 1
    assert there.asks("sub-1")[0] == [renamed]
    assert there.looks_at("Augustsz", "august")[0] == [None, renamed]


@pytest.mark.parametrize("by", ["sub", "handle"])
def test_reader_of_the_old_row_cannot_share_it_after_a_rename(new_process: NewProcess, by: str) -> None:
    slow, writer, third = new_process(), new_process(), new_process()
    slow.database.after = lambda: writer.users.rename("Augustsz", handle="Augustsz", display_name="August")
    ask = "asks" if by == "sub" else "looks_at"
    text = "sub-1" if by == "sub" else "Augustsz"
    assert getattr(slow, ask)(text) == ([AUGUSTSZ], 1)  # it read before the change, and tells its own client so
    assert getattr(third, ask)(text) == ([User(AUGUSTSZ.uuid, "Augustsz", "August")], 1)


def test_moved_cognito_id_leads_to_its_new_user(server: MomentoServer, new_process: NewProcess) -> None:
    here, there = new_process(), new_process()
    assert there.asks("sub-1")[0] == [AUGUSTSZ]
    pool = [pool_user("sub-2", "Augustsz"), pool_user("sub-1", "bayko")]
    assert link_cognito_users(here.database, pool, here.cache).changed == 2
    there.now += CACHED_SECONDS
    server.now += FORGOTTEN_SECONDS
    (first, second), _ = there.asks("sub-1", "sub-2")
    assert (first and first.handle, second) == ("bayko", AUGUSTSZ)
    link_cognito_users(here.database, [pool_user("sub-3", "bayko")], here.cache)
    there.now += CACHED_SECONDS
    assert there.asks("sub-1")[0] == [None]
    server.calls.clear()
    link_cognito_users(here.database, [pool_user("sub-3", "bayko")], here.cache)
    assert server.calls == []


def test_new_owner_of_a_handle_is_not_the_old_one(new_process: NewProcess) -> None:
    here, there = new_process(), new_process()
    old, _ = here.users.provision(ANNA)
    here.looks_at("anna")
    here.asks("sub-anna")
    with here.database.transaction() as queries:
        queries._connection.execute("DELETE FROM users WHERE handle = 'anna'")  # type: ignore[attr-defined]
    new, outcome = here.users.provision(ANNA)
    assert outcome is Outcome.CREATED
    assert new != old
    assert there.looks_at("anna")[0] == there.asks("sub-anna")[0] == [new]


def test_malformed_values_are_read_from_postgres(server: MomentoServer, new_process: NewProcess) -> None:
    new_process().asks("sub-1")
    for text in (b"", b"\xff\xfe", b"null", b"[]", b'["1", "2"]', b'["1", "2", 3]', b'{"0": "1", "1": "2", "2": "3"}'):
        for key, entry in server.caches["cruddur"].items():
            server.caches["cruddur"][key] = type(entry)(text, entry.until)
        assert new_process().asks("sub-1") == ([AUGUSTSZ], 1)


def test_fault_is_answered_from_postgres_and_logged_once(
    server: MomentoServer, new_process: NewProcess, caplog: pytest.LogCaptureFixture
) -> None:
    process = new_process()
    process.asks("sub-1")
    process.now += CACHED_SECONDS
    server.fault = grpc.StatusCode.NOT_FOUND
    server.calls.clear()
    assert process.asks("sub-1", "sub-2", "sub-3") == ([AUGUSTSZ, None, None], 3)
    assert process.looks_at("bayko", "nobody")[1] == 2
    assert server.calls == ["Get"]
    assert events(caplog) == ["cache_unavailable"]
    assert KEY not in caplog.text


@pytest.mark.parametrize("call", ["Get", "SetIfNotExists"])
def test_hanging_cache_costs_one_request_50_ms_and_the_others_nothing(
    server: MomentoServer, new_process: NewProcess, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    process = new_process(seconds=0.05)
    process.users.by_handle("bayko")  # connects to Postgres
    connect(process)
    server.slow, server.seconds = {call}, 5
    caplog.clear()
    waited, went_on = [], []
    for _ in range(3):
        server.calls.clear()
        waited.append(seconds_of(process, "bayko"))
        went_on += [seconds_of(process, "londo"), seconds_of(process, "Augustsz")]
        assert server.calls.count(call) == 1
        process.now += CACHED_SECONDS
    # The least of several, because a machine under load can be late with anything.
    assert 0.04 < min(waited) < 0.1
    assert min(went_on) < 0.04
    assert events(caplog)[0] == "cache_unavailable"


def seconds_of(process: Process, handle: str) -> float:
    began = time.perf_counter()
    assert process.looks_at(handle)[1] == 1
    return time.perf_counter() - began


def test_lookups_work_without_the_cache_and_use_it_when_it_is_back(
    url: str, new_process: NewProcess, server: MomentoServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="cruddur")
    away = MomentoServer()
    away.caches["cruddur"] = {}
    process = new_process(momento_endpoint=away.url)
    began = time.perf_counter()
    assert process.asks("sub-1", "sub-2") == ([AUGUSTSZ, None], 2)
    assert time.perf_counter() - began < 1
    with away.serving():
        until = time.monotonic() + 20
        while "cache_back" not in events(caplog):
            assert time.monotonic() < until
            time.sleep(0.05)
            process.now += PAUSE_SECONDS
            process.asks("sub-2")
        process.now += CACHED_SECONDS
        process.asks("sub-1")
        assert new_process(momento_endpoint=away.url).asks("sub-1") == ([AUGUSTSZ], 0)
    assert events(caplog) == ["cache_unavailable", "cache_back"]


def connect(process: Process) -> None:
    """A connection may take longer than a call may; afterwards it is there."""
    until = time.monotonic() + 20
    process.asks("sub-0")
    while process.cache._is_open:
        assert time.monotonic() < until
        process.now += PAUSE_SECONDS
        process.asks("sub-0")
