"""Shared by the tests of bin/ddb: the scripts in this process, on the test's table and on seeded users.

A module makes fixtures of the functions that it uses: `run = pytest.fixture(run_in_process)`.
"""

from __future__ import annotations

from typing import Any

import pytest

from lib.ddb.cursors import CursorSigner
from lib.ddb.store import MessageStore
from lib.ddb.table import Table
from lib.postgres.database import Database
from lib.users.directory import UserDirectory
from tests.support import scripts
from tests.support.cognito_ids import write_cognito_ids
from tools.postgres.migrations import migrate
from tools.seed.conversation import seed_conversation, seed_users

HOSTILE = "[red]not red[/red] :smile: \N{ROCKET}\n\tنعم"
"""Text that a terminal library would like to interpret."""

Run = scripts.Run


def seeded_database(postgres_url: str) -> str:
    """The URL of a database with the seeded users."""
    migrate(postgres_url)
    with Database(postgres_url) as database:
        seed_users(database)
        with database.transaction() as queries:
            write_cognito_ids(queries, Augustsz="sub-a", bayko="sub-b")
    return postgres_url


def use_table(dynamodb_url: str, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the test's own table."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url)
    monkeypatch.setenv("DDB_TABLE", table)


def take_for_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the scripts see no local stack in the engine under test."""
    monkeypatch.setattr("tools.cli.tables.is_emulator", lambda url: False)


def run_in_process(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a script of bin/ddb."""
    return scripts.runner(capsys, "ddb")


def seeded_store(dynamodb_client: Any, table: str, database: str, monkeypatch: pytest.MonkeyPatch) -> MessageStore:
    """The table with the seeded conversation, and Postgres with its users."""
    monkeypatch.setenv("DATABASE_URL", database)
    with Database(database) as users:
        seed_conversation(Table(dynamodb_client, table), UserDirectory(users))
    return MessageStore(Table(dynamodb_client, table), CursorSigner("any"))
