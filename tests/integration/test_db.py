"""Queries and the pool on the embedded Postgres, also while it restarts, is stopped or is frozen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from inspect import signature

import psycopg
import pytest

from lib.postgres.database import Database, create_database, drop_database
from lib.postgres.errors import DatabaseUnavailable, NotUnique
from lib.users.accounts import User
from lib.users.directory import UserDirectory
from tests.support.clocks import time_limit
from tests.support.cognito_ids import write_cognito_ids
from tests.support.frozen_postgres import frozen
from tools.local_stack.postgres import Postgres
from tools.postgres.migrations import migrate
from tools.seed.conversation import seed_users

AUGUSTSZ = User("76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "Augustsz", "Augustsz")
POOL_SIZE = 6


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database of this test's own, with the seeded users."""
    url = new_database()
    migrate(url)
    with Database(url, pool_size=POOL_SIZE) as database:
        seed_users(database)
        yield database


def fill(database: Database) -> None:
    """Let the pool open as many connections as it may."""
    with ExitStack() as stack:
        for _ in range(POOL_SIZE):
            stack.enter_context(database.transaction())


def find(database: Database) -> User | None:
    return UserDirectory(database).by_handle("Augustsz")


def test_second_load_of_seeds_changes_nothing(database: Database) -> None:
    before = database.all("users/all")
    assert seed_users(database) == 0
    assert database.all("users/all") == before
    assert {row["handle"] for row in before} == {"Augustsz", "bayko", "londo"}


def test_failed_transaction_changes_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction() as queries:  # noqa: PT012
        assert write_cognito_ids(queries, bayko="sub-1") / 0
    assert database.one("users/by_cognito_user_id", cognito_user_id="sub-1") is None


def test_bug_in_a_query_is_no_outage(database: Database) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        database.one("users/by_handle")
    with pytest.raises(FileNotFoundError):
        database.one("users/by_shoe_size")
    assert find(database) == AUGUSTSZ


def test_second_create_or_drop_changes_nothing(postgres_server: Postgres) -> None:
    url = postgres_server.url('a "strange" näme')
    assert [create_database(url), create_database(url)] == [True, False]
    with Database(url) as database:
        database.all("database/sessions")  # an open session does not prevent the drop
        assert [drop_database(url), drop_database(url)] == [True, False]


def test_simultaneous_creates_make_one_database(postgres_server: Postgres) -> None:
    url = postgres_server.url("created_at_once")
    with ThreadPoolExecutor(4) as executor:
        assert sorted(executor.map(create_database, [url] * 4)) == [False, False, False, True]
    drop_database(url)


def test_create_of_an_existing_database_needs_no_right(new_database: Callable[[], str]) -> None:
    url = new_database()
    create_database(url)
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'CREATE ROLE "{name}" LOGIN')
    assert not create_database(url.replace("postgres@", f"{name}@"))


@pytest.mark.parametrize(
    "change",
    [
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        "ALTER TABLE users ADD COLUMN age int NOT NULL DEFAULT 0; ALTER TABLE users ALTER COLUMN age DROP DEFAULT",
    ],
)
def test_database_that_takes_no_user_is_unavailable(new_database: Callable[[], str], change: str) -> None:
    url = new_database()
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(change.format(f'"{connection.info.dbname}"').encode())
    with Database(url) as database, pytest.raises(DatabaseUnavailable, match="read-only|run ./bin/db/migrate first"):
        seed_users(database)


def restart(server: Postgres) -> None:
    server.stop()
    server.start()


def test_next_query_after_a_restart_succeeds(database: Database, postgres_server: Postgres) -> None:
    fill(database)
    restart(postgres_server)
    with time_limit(0.5):
        assert find(database) == AUGUSTSZ
    fill(database)
    restart(postgres_server)
    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(lambda _: find(database), range(24))) == [AUGUSTSZ] * 24


def test_next_query_after_an_outage_succeeds(
    database: Database, postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    fill(database)
    postgres_server.stop()
    try:
        # After this time, a pool that reconnects in the background would pause for longer than the next query waits.
        with caplog.at_level(logging.DEBUG), ThreadPoolExecutor(POOL_SIZE + 2) as threads:
            for _ in range(2):
                list(threads.map(lambda _: fail(database, seconds=3), range(POOL_SIZE + 2)))
    finally:
        postgres_server.start()
    for _ in range(3):
        with time_limit(0.5):
            assert find(database) == AUGUSTSZ
    assert [record for record in caplog.records if record.name.startswith("psycopg")] == []


def fail(database: Database, *, seconds: float) -> None:
    with time_limit(seconds), pytest.raises(DatabaseUnavailable):
        find(database)


def test_pool_connects_to_a_late_postgres(database: Database, postgres_server: Postgres) -> None:
    postgres_server.stop()
    try:
        with time_limit(1.5), pytest.raises(DatabaseUnavailable):
            database.check_schema()
    finally:
        postgres_server.start()
    database.check_schema()


def test_uniqueness_error_does_not_quote_the_value(database: Database) -> None:
    with pytest.raises(NotUnique, match="users_cognito_user_id_key") as caught:
        write_cognito_ids(database, Augustsz="the-sub", bayko="the-sub")
    assert "the-sub" not in str(caught.value)


def test_slow_statement_and_frozen_postgres_time_out(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch, postgres_server: Postgres
) -> None:
    assert signature(Database).parameters["seconds"].default == 2
    url = new_database()
    migrate(url)
    with Database(url, seconds=0.2) as hurried:
        with monkeypatch.context() as patched:
            patched.setattr("lib.postgres.database._read", lambda path: "SELECT pg_sleep(30)")
            with time_limit(1), pytest.raises(DatabaseUnavailable, match=r"took more than 0\.2 s"):
                hurried.one("users/all")
            query = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%%pg_sleep(30)'"
            patched.setattr("lib.postgres.database._read", lambda path: query)
            assert hurried.all("users/all", any="") == []  # Postgres has cancelled the statement
        with frozen(postgres_server):
            fail(hurried, seconds=1)
        assert find(hurried) is None


def test_session_prepares_no_statement_and_has_no_setting_of_its_own(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler in transaction mode gives one session to several clients."""
    for _ in range(20):
        assert find(database) == AUGUSTSZ
    statement = "SELECT count(*) AS own FROM pg_settings WHERE source = 'session' AND name <> 'application_name'"
    for query in ("SELECT count(*) AS own FROM pg_prepared_statements", statement):
        monkeypatch.setattr("lib.postgres.database._read", lambda path, query=query: query)
        assert database.one("users/all") == {"own": 0}


def test_closed_database_is_unavailable(database: Database) -> None:
    find(database)
    database.close()
    with pytest.raises(DatabaseUnavailable, match="closed"):
        find(database)


def test_reason_of_an_outage_does_not_quote_the_password(postgres_server: Postgres) -> None:
    url = postgres_server.url("absent").replace("postgres@", "postgres:pa55word@")
    with Database(url) as database, pytest.raises(DatabaseUnavailable, match='"absent" does not exist: run') as caught:
        find(database)
    assert "pa55word" not in str(caught.value)
