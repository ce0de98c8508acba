"""Postgres: the connection pool, and the queries in `db/sql/<entity>/<name>.sql`.

Translates failures: an outage, another schema or a missing right becomes DatabaseUnavailable, a violated UNIQUE becomes
NotUnique. Any other error is a bug and stays psycopg's own. Knows no table; a row is a dict.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from lib.circuit_breaker import CircuitBreaker, CircuitOpen
from lib.config import ROOT
from lib.postgres.database_url import connection_string, database_name, describe
from lib.postgres.errors import DatabaseUnavailable, NotUnique

Row = dict[str, Any]

MIGRATIONS = ROOT / "db" / "migrations"

_SECONDS = 2  # the most for a connection attempt, for a wait for a free connection, and for a statement
_CANCEL_SECONDS = 0.5  # for Postgres to cancel a statement; a server that does not is frozen or unreachable
_POLL_SECONDS = 0.02
_CHECK_SECONDS = 1
_MIGRATE = "run ./bin/db/migrate first"
_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "application_name": "cruddur-messages",
    "connect_timeout": _SECONDS,
    "prepare_threshold": None,
}

# Scripts report these errors in one line. A psycopg.Error is a mistake in a query.
FAILURES = (DatabaseUnavailable, NotUnique, psycopg.Error)


# A missing table, a missing column, a missing constraint for ON CONFLICT, another type, and a column without a default.
_OTHER_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidColumnReference,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.NotNullViolation,
)

# The user of the URL lacks a right, or the server has become a read-only replica.
_FORBIDDEN = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)


@dataclass(slots=True)
class QueryCount:
    """A running total of the statements sent, including those by which the pool checks a connection."""

    requests: int = 0


_current: ContextVar[QueryCount] = ContextVar("postgres_queries")


def start_counting() -> QueryCount:
    """Count from zero in this context (a request, a script). Each statement adds to the returned total."""
    count = QueryCount()
    _current.set(count)
    return count


class _Connection(psycopg.Connection[Row]):
    """A connection whose waits are limited, and which reports why an attempt to connect failed.

    It works through a pooler in transaction mode: it prepares no statement and changes no setting of the session.
    """

    seconds: float | None = _SECONDS

    @classmethod
    def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, on_failure: Callable[[Exception], None] = lambda _: None, **kwargs: Any
    ) -> Any:
        try:
            return super().connect(connection_string(conninfo), **kwargs)
        except psycopg.Error as error:
            on_failure(error)
            raise

    def execute(self, *args: Any, **kwargs: Any) -> psycopg.Cursor[Row]:
        if query_count := _current.get(None):
            query_count.requests += 1
        return super().execute(*args, **kwargs)

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        # The setting statement_timeout does not fit: a pooler in transaction mode gives one session to several clients,
        # and a frozen server or a dead network does not obey it.
        try:
            return super().wait(gen, interval, timeout or self.seconds)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
                raise
        try:
            self.cancel_safe(timeout=_CANCEL_SECONDS)
            return super().wait(gen, interval, _CANCEL_SECONDS)
        except psycopg.errors.QueryCanceled as error:
            raise psycopg.errors.QueryCanceled(f"a statement took more than {self.seconds} s") from error
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.close()
            raise


class Queries:
    """Runs queries. A query's name is the path of its file below `db/sql`, such as `users/by_handle`."""

    def __init__(self, connect: Callable[[], AbstractContextManager[psycopg.Connection[Row]]]) -> None:
        self._connect = connect

    def one(self, query: str, **values: Any) -> Row | None:
        """The first row, or None."""
        return next(iter(self.all(query, **values)), None)

    def all(self, query: str, **values: Any) -> list[Row]:
        """Every row."""
        return self._run(f"db/sql/{query}.sql", values)[0]

    def execute(self, query: str, **values: Any) -> int:
        """Run a query; return how many rows it changed."""
        return self._run(f"db/sql/{query}.sql", values)[1]

    def script(self, path: str) -> int:
        """Run all statements of a file such as `db/seed.sql`, or none; return how many rows the last one changed."""
        return self._run(path, None)[1]

    def _run(self, path: str, values: Row | None) -> tuple[list[Row], int]:
        with self._connect() as connection:
            cursor = connection.execute(sql.SQL(_read(path)), values)
            return cursor.fetchall() if cursor.description else [], cursor.rowcount


class Database(Queries):
    """A pool of connections. The first query opens it. Safe to share between threads, not between processes.

    `seconds` limits each step: the wait for a connection, which may be a new one, and a statement. At most `pool_size`
    threads wait for Postgres at a time, and a circuit breaker refuses queries while Postgres does not respond.
    """

    def __init__(self, url: str, *, pool_size: int = 8, seconds: float = _SECONDS) -> None:
        super().__init__(lambda: self._connection(seconds))
        self._address = describe(url)
        self._seconds = seconds
        self._failure: Exception | None = None
        self._breaker = CircuitBreaker("postgres", _is_silence, limit=pool_size)
        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # its warnings repeat our exceptions
        self._pool = ConnectionPool(
            url,
            connection_class=_Connection,
            kwargs={**_OPTIONS, "row_factory": dict_row, "on_failure": self._keep_failure},
            configure=self._set_timeout,
            check=self._check,
            min_size=0,
            max_size=pool_size,
            timeout=seconds,
            # No retries in the background: their growing pauses would outlast the outage, and a pool that is full of
            # waiting retries lets no request try to connect.
            reconnect_timeout=0,
            open=False,
        )

    @contextmanager
    def transaction(self) -> Iterator[Queries]:
        """Queries that Postgres applies together or not at all."""
        with self._connection(self._seconds) as connection, connection.transaction():
            yield Queries(lambda: nullcontext(connection))

    def check_schema(self) -> None:
        """Raise DatabaseUnavailable unless Postgres responds within about a second and has the whole schema.

        It must have applied the migrations of this checkout. It may have applied newer ones.
        """
        with self._connection(_CHECK_SECONDS) as connection:
            queries = Queries(lambda: nullcontext(connection))
            reasons = [row["difference"] for row in queries.all("database/differences")]
            if not reasons:
                names = [path.stem for path in migration_files()]
                missing = queries.all("database/missing_migrations", names=names)
                reasons = [f"no migration {row['name']}" for row in missing]
        if reasons:
            reason = f"another schema: {'; '.join(reasons)}"
            raise DatabaseUnavailable(f"Postgres at {self._address} has {reason}: {_MIGRATE}")

    def close(self) -> None:
        """Close every connection; later queries raise DatabaseUnavailable."""
        self._pool.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def _connection(self, timeout: float) -> Iterator[psycopg.Connection[Row]]:
        try:
            with _translate_errors(self._address), self._breaker.call():
                self._pool.open()
                connection = self._take(timeout)
                try:
                    yield connection
                finally:
                    self._pool.putconn(connection)
        except CircuitOpen as error:
            raise _unavailable(self._address, self._failure or error) from error

    def _take(self, seconds: float) -> _Connection:
        """A connection of the pool, or the error of the attempt to open one.

        The pool opens connections in the background and lets its callers wait for the whole time after a failure.
        """
        end, earlier_failure = time.monotonic() + seconds, self._failure
        while True:
            try:
                return self._pool.getconn(min(_POLL_SECONDS, end - time.monotonic()))
            except PoolTimeout:
                if self._failure and self._failure is not earlier_failure:
                    raise self._failure from None
                if time.monotonic() >= end:
                    raise

    def _set_timeout(self, connection: _Connection) -> None:
        connection.seconds = self._seconds

    def _check(self, connection: psycopg.Connection[Row]) -> None:
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.Error:
            # One dead connection can mean that Postgres restarted and all connections are dead. The pool would try them
            # one by one, with growing pauses, until the request times out.
            self._pool.drain()
            raise

    def _keep_failure(self, error: Exception) -> None:
        self._failure = error


class Session:
    """One connection, without the cost of a pool. The first query opens it; if it has broken, the next query does.

    Not safe to share between threads. Each step takes at most two seconds.
    """

    _connection: _Connection | None = None

    def __init__(self, url: str) -> None:
        self._url, self._address = url, describe(url)

    def execute(self, query: str, **values: Any) -> None:
        """Run a query of `db/sql`. Raises what Database raises."""
        with _translate_errors(self._address):
            if self._connection is None or self._connection.closed:
                self._connection = _Connection.connect(self._url, **_OPTIONS)
            self._connection.execute(sql.SQL(_read(f"db/sql/{query}.sql")), values)

    def __del__(self) -> None:
        if self._connection:
            self._connection.close()


def migration_files(folder: Path = MIGRATIONS) -> list[Path]:
    """The files that change the schema, in the order in which Postgres applies them."""
    return sorted(folder.glob("[0-9]*"))


def create_database(url: str) -> bool:
    """Create the database that the URL names; False if it exists."""
    with suppress(DatabaseUnavailable), connect(url):
        return False  # Postgres refuses CREATE DATABASE to users without the right, even if the database exists
    return _maintain(url, "CREATE DATABASE {}", unless=psycopg.errors.DuplicateDatabase)


def drop_database(url: str) -> bool:
    """Drop the database that the URL names, and end its sessions; False if it does not exist."""
    return _maintain(url, "DROP DATABASE {} WITH (FORCE)", unless=psycopg.errors.InvalidCatalogName)


@contextmanager
def connect(url: str, *, seconds: float | None = None) -> Iterator[psycopg.Connection]:
    """A connection for maintenance: its statements may take any time, or `seconds`. Raises what Database raises."""
    with _translate_errors(describe(url)), _Connection.connect(url, **_OPTIONS) as connection:
        connection.seconds = seconds
        yield connection


def _maintain(url: str, statement: LiteralString, *, unless: type[psycopg.Error]) -> bool:
    """Run a statement from the database `postgres`, which every server has; False if it fails with `unless`."""
    try:
        with connect(connection_string(url, dbname="postgres")) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(database_name(url))))
    except (unless, NotUnique):  # NotUnique: another process creates the same database
        return False
    return True


@contextmanager
def _translate_errors(address: str) -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise _unavailable(address, error) from error
    except psycopg.errors.UniqueViolation as error:
        raise NotUnique(error.diag.message_primary) from error
    except _OTHER_SCHEMA as error:
        raise DatabaseUnavailable(f"Postgres at {address}: {error.diag.message_primary}: {_MIGRATE}") from error
    except _FORBIDDEN as error:
        raise DatabaseUnavailable(f"Postgres at {address}: {error.diag.message_primary}") from error


def _is_silence(error: Exception) -> bool:
    """Whether Postgres did not respond. An error that Postgres itself sent has an SQLSTATE."""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate is None


def _unavailable(address: str, error: Exception) -> DatabaseUnavailable:
    reason = str(error).partition("\n")[0] or type(error).__name__
    # A failed attempt to connect has no SQLSTATE.
    advice = ": run ./bin/db/create first" if re.search(r'database ".*" does not exist$', reason) else ""
    return DatabaseUnavailable(f"Postgres at {address} is unavailable: {reason}{advice}")


@cache
def _read(path: str) -> str:
    return (ROOT / path).read_text()
