"""Handles in Postgres: every spelling finds its user, nobody else gets a handle that was given up, older ones work."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any, LiteralString

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lib.config import ROOT
from lib.postgres.database import Database
from lib.postgres.errors import NotUnique
from lib.users.accounts import User
from lib.users.directory import HandleTaken, Outcome, SignUp, UserDirectory, to_user
from lib.users.names import handle_key
from services.users import CannotRename, rename_user
from tests.integration import test_users
from tests.integration.test_users import AUGUSTSZ
from tests.support import scripts
from tests.support.clocks import eventually
from tests.support.roles import as_role, create_roles
from tools.postgres.migrations import grant, migrate
from tools.seed.conversation import seed_users

database = test_users.database

SPELLINGS = ["AUGUSTSZ", "augustsz", "".join(chr(ord(char) + 0xFEE0) for char in "Augustsz")]
ANNA = SignUp("sub-anna", "anna", "Anna", "anna@example.com", email_verified=True)
BERT = SignUp("sub-bert", "bert", "Bert", "bert@example.com", email_verified=True)

# The statement by which a server of the version before provisions a user.
OLD_PROVISION: LiteralString = """
INSERT INTO users (handle, display_name, email, cognito_user_id)
VALUES (%(handle)s, %(handle)s, 'old@example.com', %(sub)s)
ON CONFLICT (handle) DO UPDATE SET cognito_user_id = excluded.cognito_user_id
WHERE users.cognito_user_id IS NULL AND users.email = excluded.email
RETURNING uuid, handle, handle_key
"""

# The sessions of this database that wait for a lock.
WAITING: LiteralString = """
SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def users(database: Database) -> UserDirectory:
    return UserDirectory(database)


def execute(database: Database, statement: LiteralString, **values: Any) -> psycopg.Cursor[Any]:
    """Run a statement as a person would, without the directory."""
    with database._connection(2) as connection:
        return connection.execute(statement, values)


def pass_days(database: Database, days: int) -> None:
    """Let the reservations be this much older."""
    execute(
        database,
        "UPDATE reserved_handles SET reserved_until = reserved_until - make_interval(days => %(days)s)",
        days=days,
    )


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_handle_finds_its_user(users: UserDirectory, spelling: str) -> None:
    assert users.by_handle(spelling) == users.profile(spelling) == users.by_handle("Augustsz") == AUGUSTSZ
    renamed = users.rename(spelling, handle="August", display_name=None)
    assert renamed == replace(AUGUSTSZ, handle="August") == users.profile("august")
    for old in (spelling, "Augustsz"):
        assert users.by_handle(old) is users.profile(old) is None


def test_respelled_handle_is_found_in_every_spelling(users: UserDirectory) -> None:
    londo = users.rename("londo", handle="änna", display_name=None)
    assert londo is not None
    for handle in ("ÄNNA", "A\u0308nna"):
        renamed = users.rename("änna", handle=handle, display_name=None)
        assert renamed == replace(londo, handle=handle) == users.by_handle("Änna")


@pytest.mark.parametrize("action", ["rename", "UPDATE", "DELETE"])
def test_nobody_gets_a_handle_within_30_days_of_its_release(
    database: Database, users: UserDirectory, action: str
) -> None:
    anna, _ = users.provision(ANNA)
    if action == "rename":
        rename_user(users, "anna", handle="hannah", display_name=None)
    elif action == "UPDATE":
        execute(database, "UPDATE users SET handle = 'hannah' WHERE handle = 'anna'")
    else:
        execute(database, "DELETE FROM users WHERE handle = 'anna'")
    for handle in ("anna", "Anna"):
        assert users.by_handle(handle) is None
        with pytest.raises(HandleTaken):
            users.provision(replace(BERT, handle=handle))
        with pytest.raises(CannotRename, match="gave up within 30 days"):
            rename_user(users, "bayko", handle=handle, display_name=None)
        with pytest.raises(NotUnique):
            execute(database, OLD_PROVISION, handle=handle, sub="sub-old")
    pass_days(database, 29)
    with pytest.raises(HandleTaken):
        users.provision(replace(BERT, handle="anna"))
    pass_days(database, 1)
    bert, outcome = users.provision(replace(BERT, handle="anna"))
    assert (bert.handle, outcome, bert.uuid != anna.uuid) == ("anna", Outcome.CREATED, True)


def test_former_owner_takes_the_handle_back(database: Database, users: UserDirectory) -> None:
    anna, _ = users.provision(ANNA)
    users.rename("anna", handle="hannah", display_name=None)
    assert users.rename("hannah", handle="Anna", display_name=None) == replace(anna, handle="Anna")
    assert users.by_handle("anna") == replace(anna, handle="Anna")
    execute(database, "DELETE FROM users WHERE handle = 'Anna'")
    again, outcome = users.provision(ANNA)
    assert (users.by_handle("anna"), outcome) == (again, Outcome.CREATED)


def test_sign_up_that_waits_for_a_rename_does_not_get_the_handle(database: Database, users: UserDirectory) -> None:
    users.provision(ANNA)
    refused = []

    def sign_up() -> None:
        try:
            users.provision(replace(BERT, handle="anna"))
        except HandleTaken:
            refused.append(True)

    with database.transaction() as queries:
        queries.execute("users/rename", handle="anna", new_handle="hannah", display_name=None)
        thread = Thread(target=sign_up)
        thread.start()
        assert eventually(lambda: execute(database, WAITING).fetchall())
    thread.join()
    assert refused == [True]


@pytest.fixture
def old_database(new_database: Callable[[], str], tmp_path: Path) -> str:
    """The URL of a database of the version before, with users whose handles break the rule or collide."""
    url = new_database()
    for name in ("0001_users.sql", "0002_bootcamp_users.sql"):
        (tmp_path / name).write_text((ROOT / "db/migrations" / name).read_text())
    migrate(url, tmp_path)
    handles = ["Bayko", "bayko", "Änna", "anna ann", "a/b", "bayko\ufe0f", "\u2800", AUGUSTSZ.uuid]
    with psycopg.connect(url) as connection:
        for number, handle in enumerate(handles):
            connection.execute(
                "INSERT INTO users (handle, display_name, email, created_at) VALUES (%s, 'A\x1b[8m', 'a@a.test', %s)",
                [handle, f"2026-01-{number + 1:02}"],
            )
    return url


def test_older_handles_are_found_by_their_exact_form(old_database: str) -> None:
    migrate(old_database)
    with Database(old_database) as database:
        users = UserDirectory(database)
        for row in database.all("users/all"):
            assert users.by_handle(row["handle"]) == users.profile(row["handle"]) == to_user(row)
        assert handle_of(users.by_handle("BAYKO")) == "Bayko"  # the older one
        assert handle_of(users.by_handle("ÄNNA")) == "Änna"
        with pytest.raises(HandleTaken):
            users.provision(replace(BERT, handle="BAYKO"))
        renamed = users.rename("anna ann", handle=None, display_name="Ann")
        assert renamed == users.by_handle("anna ann")
        users.rename("bayko", handle="bay", display_name=None)
        assert users.by_handle("bayko") is None  # and not Bayko, who would get the other's mail
        assert handle_of(users.by_handle("BayKo")) == "Bayko"
        renamed = users.rename("Bayko", handle=None, display_name="B")
        assert renamed is not None
        assert renamed.display_name == "B"


def handle_of(user: User | None) -> str | None:
    return user and user.handle


def test_seeding_names_the_handle_that_another_user_gave_up(database: Database, users: UserDirectory) -> None:
    execute(database, "DELETE FROM users WHERE handle = 'londo'")
    pass_days(database, 30)
    users.provision(replace(BERT, handle="londo"))
    users.rename("londo", handle="lando", display_name=None)
    with pytest.raises(NotUnique, match="another user gave up the handle londo within 30 days"):
        seed_users(database)


def test_check_lists_the_handles_without_a_key(
    old_database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate(old_database)
    create_roles(old_database)
    grant(old_database)
    monkeypatch.setenv("DATABASE_URL", as_role(old_database, "cruddur_maintenance"))
    with Database(old_database) as database:
        execute(database, "INSERT INTO users (handle, display_name, email) VALUES ('Éva', 'Éva', 'eva@example.com')")
    status, lines, printed = scripts.runner(capsys, "db")("check")
    assert (status, printed) == (1, "Users whom only the exact handle finds: 7\n")
    reasons = {tuple(line.split(" ", 1)[1].rsplit("  ", 1)) for line in lines[1:]}
    assert len(reasons) == 7
    listed = "\n".join(lines)
    assert "bayko is another spelling of Bayko" in listed
    assert listed.count("breaks the rule") == 5
    assert "Éva has no key yet" in listed
    printed = scripts.runner(capsys, "db")("check", "--fix")[2]
    assert printed == "Keys written: 1\nUsers whom only the exact handle finds: 6\n"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.from_regex(r"[A-Za-z0-9 /._-]{1,12}|[0-9A-F]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", fullmatch=True))
@example("I")
def test_handle_that_a_server_of_the_version_before_writes_has_its_key(database: Database, handle: str) -> None:
    with database._connection(2) as connection, connection.transaction(force_rollback=True):
        row = connection.execute(OLD_PROVISION, {"handle": handle, "sub": json.dumps(handle)}).fetchone()
        assert row is not None
        assert row["handle_key"] == handle_key(handle)
        updated = "UPDATE users SET handle = 'x' || handle WHERE uuid = %(uuid)s RETURNING handle, handle_key"
        row = connection.execute(updated, row).fetchone()
        assert row is not None
        assert row["handle_key"] == handle_key(row["handle"])
