"""Queries and the pool on the embedded Postgres, also while it restarts, is away or is frozen."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from inspect import signature

import psutil
import psycopg
import pytest

from lib.postgres.database import Database, create_database, drop_database
from lib.postgres.errors import DatabaseUnavailable, NotUnique
from lib.users.directory import User, UserDirectory
from tools.local_stack.postgres import Postgres
from tools.seed.conversation import seed_users

AUGUSTSZ = User("76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "Augustsz", "Augustsz")
POOL_SIZE = 6


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database of this test's own, with the seeded users."""
    with Database(new_database(), pool_size=POOL_SIZE) as made:
        made.script("db/schema.sql")
        seed_users(made)
        yield made


def fill(database: Database) -> None:
    """Make the pool keep as many connections as it may."""
    with ExitStack() as stack:
        for _ in range(POOL_SIZE):
            stack.enter_context(database.transaction())


def find(database: Database) -> User | None:
    return UserDirectory(database).by_handle("Augustsz")


def test_loading_schema_and_seeds_again_changes_nothing(database: Database) -> None:
    before = database.all("users/all")
    database.script("db/schema.sql")
    assert seed_users(database) == 0
    assert database.all("users/all") == before
    assert {row["handle"] for row in before} == {"Augustsz", "bayko", "londo"}


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    changed = []

    def change_and_fail() -> None:
        with database.transaction() as queries:
            changed.append(queries.execute("users/set_cognito_user_ids", handles=["bayko"], subs=["sub-1"]))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()
    assert changed == [1]
    assert database.one("users/by_cognito_user_id", cognito_user_id="sub-1") is None


def test_a_mistake_in_a_query_stays_what_it_is(database: Database) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        database.one("users/by_handle")
    with pytest.raises(FileNotFoundError):
        database.one("users/by_shoe_size")
    assert find(database) == AUGUSTSZ


def test_a_second_create_or_drop_does_nothing(postgres_server: Postgres) -> None:
    url = postgres_server.url('a "strange" näme')
    assert [create_database(url), create_database(url)] == [True, False]
    with Database(url) as database:
        database.ping()  # a session that is open does not keep the database
        assert [drop_database(url), drop_database(url)] == [True, False]


def test_more_threads_than_connections_all_get_an_answer(database: Database) -> None:
    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(lambda _: find(database), range(200)))
    assert found == [AUGUSTSZ] * 200


def test_the_next_query_works_after_postgres_restarted(database: Database, postgres_server: Postgres) -> None:
    fill(database)
    postgres_server.stop()
    postgres_server.start()
    began = time.monotonic()
    assert find(database) == AUGUSTSZ
    assert time.monotonic() - began < 0.5


def test_many_threads_find_a_restarted_postgres(database: Database, postgres_server: Postgres) -> None:
    fill(database)
    postgres_server.stop()
    postgres_server.start()
    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(lambda _: find(database), range(24))) == [AUGUSTSZ] * 24


def test_the_next_query_works_after_an_outage_with_failing_queries(
    database: Database, postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    fill(database)
    postgres_server.stop()
    try:
        # Long enough for a pool that retries in the background to be in a pause longer than the next query waits.
        with caplog.at_level(logging.DEBUG), ThreadPoolExecutor(POOL_SIZE + 2) as threads:
            for _ in range(2):
                failures = list(threads.map(lambda _: time_until_unavailable(database), range(POOL_SIZE + 2)))
                assert max(failures) < 3
    finally:
        postgres_server.start()
    for _ in range(3):
        began = time.monotonic()
        assert find(database) == AUGUSTSZ
        assert time.monotonic() - began < 0.5
    assert [record for record in caplog.records if record.name.startswith("psycopg")] == []


def time_until_unavailable(database: Database) -> float:
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        find(database)
    return time.monotonic() - began


def test_a_pool_that_found_no_postgres_at_first_finds_it_later(
    new_database: Callable[[], str], postgres_server: Postgres
) -> None:
    with Database(new_database()) as database:
        postgres_server.stop()
        try:
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable):
                database.ping()
            assert time.monotonic() - began < 1.5
        finally:
            postgres_server.start()
        database.ping()


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    assert server.pid is not None
    main = psutil.Process(server.pid)
    processes = [main, *main.children(recursive=True)]
    for each in processes:
        os.kill(each.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in processes:
            os.kill(each.pid, signal.SIGCONT)


def test_what_must_be_unique_is_refused_without_telling_it(database: Database) -> None:
    with pytest.raises(NotUnique, match="users_cognito_user_id_key") as caught:
        database.execute("users/set_cognito_user_ids", handles=["Augustsz", "bayko"], subs=["the-sub", "the-sub"])
    assert "the-sub" not in str(caught.value)


def test_a_slow_statement_and_a_frozen_postgres_are_given_up_and_found_again(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch, postgres_server: Postgres
) -> None:
    assert signature(Database).parameters["seconds"].default == 2
    url = new_database()
    with Database(url) as patient:
        patient.script("db/schema.sql")
    with Database(url, seconds=0.2) as hurried:
        with monkeypatch.context() as patched:
            patched.setattr("lib.postgres.database._read", lambda path: "SELECT pg_sleep(30)")
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match="statement timeout"):
                hurried.one("users/all")
            assert time.monotonic() - began < 1
        with frozen(postgres_server):
            assert time_until_unavailable(hurried) < 1
        assert find(hurried) is None


def test_a_closed_database_is_unavailable(database: Database) -> None:
    database.ping()
    database.close()
    with pytest.raises(DatabaseUnavailable, match="closed"):
        database.ping()


def test_why_postgres_is_unavailable_is_told_without_the_password(postgres_server: Postgres) -> None:
    url = postgres_server.url("not_there").replace("postgres@", "postgres:pa55word@")
    with Database(url) as database, pytest.raises(DatabaseUnavailable, match='"not_there" does not exist') as caught:
        database.ping()
    assert "pa55word" not in str(caught.value)
