"""The scripts in bin/db on the embedded Postgres: what they do, do again, and refuse to do."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib.postgres.database import Database, drop_database
from lib.postgres.errors import DatabaseUnavailable
from tests.support import scripts
from tests.support.fresh_machine import search_path
from tools.local_stack.cognito import LocalPool, ensure_user
from tools.local_stack.postgres import Postgres

SEEDED = {"Augustsz", "bayko", "londo"}
FAR = "postgresql://me:pa55word@db.example.com/cruddur"
GUARDED = pytest.mark.parametrize("name", ["drop", "seed", "setup", "update_cognito_user_ids", "rename-user"])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> scripts.Run:
    return scripts.runner(capsys, "db")


@pytest.fixture
def url(postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """DATABASE_URL, of a database that is not there yet."""
    url = postgres_server.url(f"scripts-{uuid.uuid4().hex}")
    monkeypatch.setenv("DATABASE_URL", url)
    yield url
    drop_database(url)


@pytest.fixture
def pool(cognito_client: Any, ministack_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPool]:
    """The settings of an empty user pool."""
    pool_id = cognito_client.create_user_pool(PoolName="scripts")["UserPool"]["Id"]
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", pool_id)
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_CLIENT_ID", "no client is needed")
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", ministack_url)
    yield LocalPool(pool_id, "no client is needed")
    cognito_client.delete_user_pool(UserPoolId=pool_id)


def cognito_ids(url: str) -> dict[str, str | None]:
    """The Cognito ids of all users by their handles."""
    with Database(url) as database:
        return {row["handle"]: row["cognito_user_id"] for row in database.all("users/all")}


def test_step_by_step_and_every_step_twice(url: str, run: scripts.Run) -> None:
    for name, first, second in [
        ("create", "created", "already there"),
        ("schema-load", "the schema is loaded", "the schema is loaded"),
        ("seed", "3 users added", "0 users added"),
        ("drop", "dropped", "already gone"),
    ]:
        for outcome in (first, second):
            status, data, said = run(name)
            assert (status, data, said.endswith(f": {outcome}\n")) == (0, [], True)
        if name == "seed":
            assert cognito_ids(url).keys() == SEEDED
    with Database(url) as database, pytest.raises(DatabaseUnavailable):
        database.ping()


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:9"])
def test_setup_needs_no_user_pool(
    endpoint: str, url: str, pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", endpoint)
    if not endpoint:
        monkeypatch.delenv("AWS_COGNITO_USER_POOL_ID")
    for _ in range(2):
        status, _, said = run("setup")
        assert (status, "left as they are" in said) == (0, True)
        assert ("No Cognito user pool is configured" in said) == (not endpoint)
    assert cognito_ids(url).keys() == SEEDED


def test_users_are_linked_and_unmatched_ones_are_named(
    url: str, pool: LocalPool, cognito_client: Any, run: scripts.Run
) -> None:
    subs = {
        handle: ensure_user(cognito_client, pool, handle=handle, display_name=handle, email=f"{handle.lower()}@a.test")
        for handle in ("Augustsz", "bayko", "ghost")
    }
    for name, counts in [("setup", "2 written, 0 already right"), ("update_cognito_user_ids", "0 written, 2 already")]:
        status, _, said = run(name)
        assert status == 0
        assert f"Cognito ids: {counts}" in said
        assert "Users without a Cognito user: londo\n" in said
        assert "Cognito users without a row in Postgres: ghost\n" in said
        assert "@" not in said
    assert cognito_ids(url) == {"Augustsz": subs["Augustsz"], "bayko": subs["bayko"], "londo": None}


def test_update_cognito_user_ids_needs_a_pool_that_answers(
    url: str, pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("setup")
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", "us-east-1_NotThere1")
    status, _, said = run("update_cognito_user_ids")
    assert (status, "us-east-1_NotThere1" in said, said.count("\n")) == (1, True, 1)


def arguments_of(name: str) -> list[str]:
    return ["bayko", "--handle", "bay"] if name == "rename-user" else []


@GUARDED
def test_database_elsewhere_is_not_touched(
    name: str, pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", FAR)
    status, _, said = run(name, *arguments_of(name))
    assert status == 1
    assert said.startswith("Refused to ")
    assert "db.example.com/cruddur is no local stack" in said
    assert "pa55word" not in said


@GUARDED
def test_prod_and_yes_go_ahead(
    name: str, url: str, pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("setup")
    monkeypatch.setattr("lib.postgres.database_url.is_local", lambda url: False)
    words = [*arguments_of(name), "prod", "--yes"]
    assert run(name, *words)[0] == 0


def test_errors_of_a_process_are_told_in_lines(url: str) -> None:
    missing = scripts.run("db/create", DATABASE_URL="")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith("DATABASE_URL is missing")
    assert "./bin/dev" in missing.stderr
    created = scripts.run("db/create")
    assert (created.returncode, created.stdout, created.stderr.count("\n")) == (0, "", 1)
    unloaded = scripts.run("db/seed")
    assert (unloaded.returncode, unloaded.stderr) == (1, 'relation "users" does not exist\n')


@pytest.mark.parametrize("name", ["create", "drop", "seed", "setup", "sessions", "schema-load", "rename-user"])
def test_postgres_that_is_not_there_is_told_in_a_line(
    name: str, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:pa55word@127.0.0.1:9/cruddur")
    status, _, said = run(name, *arguments_of(name))
    assert (status, said.startswith("Postgres at 127.0.0.1:9/"), said.count("\n")) == (1, True, 1)
    assert "pa55word" not in said


def test_sessions_lists_who_is_connected(url: str, run: scripts.Run) -> None:
    run("setup")
    with Database(url) as database:
        database.all("database/sessions")  # a query of several lines
        status, (heading, *sessions), _ = run("sessions")
    assert (status, heading) == (0, "pid application state age query")
    assert [session.split()[1:3] for session in sessions] == [["cruddur-messages", "idle"]]
    assert "SELECT pid, application_name, state" in sessions[0]


def test_connect_opens_psql(url: str, tmp_path: Path, run: scripts.Run) -> None:
    run("setup")
    # Without the system's psql, the one that the embedded Postgres brings is taken.
    variables = {"PATH": search_path(tmp_path / "path")}
    done = scripts.run("db/connect", "--", "-Atc", "SELECT count(*) FROM users", **variables)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_connect_says_when_there_is_no_psql(run: scripts.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", FAR)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, said = run("connect")
    assert (status, "psql is not installed" in said) == (1, True)


def test_connect_keeps_the_password_off_the_command_line(run: scripts.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setenv("DATABASE_URL", FAR)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("os.execve", lambda *call: calls.append(call))
    run("connect", "--", "-c", "SELECT 1")
    [(program, command, environ)] = calls
    assert program == "/usr/bin/psql"
    assert command[2:] == ["-c", "SELECT 1"]
    assert "pa55word" not in " ".join(command)
    assert environ["PGPASSWORD"] == "pa55word"
