"""Migrations: the numbered files of `db/migrations` change the schema of Postgres, in the order of their names.

The table `schema_migrations` records the applied ones. This module knows no other table.
"""

from __future__ import annotations

import hashlib
import runpy
from pathlib import Path

import psycopg

from lib.config import ROOT
from lib.postgres.database import MIGRATIONS, connect, migration_files

_GRANTS = ROOT / "db" / "grants.sql"
_LOCK = 5_282_463_104  # an advisory lock of the database: any number that no other program uses

# While a migration waits for a table, the API's statements wait behind it. Those fail after 2 s.
_LOCK_TIMEOUT = "1s"

# Postgres keeps the locks of a process that hangs, or whose network fails, for this time. Python needs about 40 s to
# compute the keys of 500,000 handles.
_IDLE_TIMEOUT = "2min"

# IF NOT EXISTS needs the right to create, even if the table exists.
_CREATE_RECORDS = """
DO $$ BEGIN
    IF to_regclass('schema_migrations') IS NULL THEN
        CREATE TABLE schema_migrations (
            name       text PRIMARY KEY,
            sha256     text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
    END IF;
END $$
"""
_SET_TIMEOUTS = """
SELECT set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true)
"""
_FIND_RECORD = "SELECT sha256 FROM schema_migrations WHERE name = %s"
_ADD_RECORD = "INSERT INTO schema_migrations (name, sha256) VALUES (%s, %s)"


class MigrationError(Exception):
    """A migration was not applied, nor any after it; the message has its name and the reason."""


def migrate(url: str, folder: Path = MIGRATIONS) -> list[str]:
    """Apply the migrations that the database lacks; return their names.

    Postgres applies and records a migration in one transaction, for one process at a time. Raises DatabaseUnavailable,
    and MigrationError if a migration fails, or if its file has changed since it was applied.
    """
    with connect(url) as connection:
        return [path.stem for path in migration_files(folder) if _apply(connection, path)]


def grant(url: str) -> bool:
    """Give the roles of db/roles.sql the rights of db/grants.sql alone; False if the roles are not there."""
    with connect(url) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if connection.execute("SELECT to_regrole('cruddur_api')").fetchone() == (None,):
            return False
        connection.execute(_GRANTS.read_bytes())
        return True


def _apply(connection: psycopg.Connection, path: Path) -> bool:
    """Apply a migration; False if the database has it."""
    text = path.read_text()
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            connection.execute(_CREATE_RECORDS)
            if record := connection.execute(_FIND_RECORD, [path.stem]).fetchone():
                if record != (sha256,):
                    raise MigrationError(f"{path.name} has changed since it was applied: restore it, and add another")
                return False
            connection.execute(_SET_TIMEOUTS, [_LOCK_TIMEOUT, _IDLE_TIMEOUT])
            if path.suffix == ".py":
                runpy.run_path(str(path))["migrate"](connection)
            else:
                connection.execute(text.encode())
            connection.execute(_ADD_RECORD, [path.stem, sha256])
            return True
    except psycopg.Error as error:
        # The detail names what stands in the way, such as the view that uses a column.
        reason = ": ".join(filter(None, (error.diag.message_primary, error.diag.message_detail))) or str(error)
        raise MigrationError(f"{path.name} was not applied: {reason}") from error
