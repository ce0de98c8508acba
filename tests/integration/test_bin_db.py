"""The scripts in bin/db on the embedded Postgres: what they do, do again, and refuse to do."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
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
GUARDED = ["db/drop", "db/seed", "db/setup", "db/update_cognito_user_ids"]


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
    made = LocalPool(cognito_client.create_user_pool(PoolName="scripts")["UserPool"]["Id"], "no client is needed")
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", made.user_pool_id)
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_CLIENT_ID", made.client_id)
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", ministack_url)
    yield made
    cognito_client.delete_user_pool(UserPoolId=made.user_pool_id)


def handles(url: str) -> set[str]:
    with Database(url) as database:
        return {row["handle"] for row in database.all("users/all")}


def is_there(url: str) -> bool:
    with Database(url) as database:
        try:
            database.ping()
        except DatabaseUnavailable:
            return False
    return True


def test_step_by_step_and_every_step_twice(url: str) -> None:
    for name, first, second in [
        ("db/create", "created", "already there"),
        ("db/schema-load", "loaded", "loaded"),
        ("db/seed", "3 users added", "0 users added"),
    ]:
        for shown in (first, second):
            done = scripts.run(name)
            assert (done.returncode, done.stdout) == (0, "")
            assert shown in done.stderr
    assert handles(url) == SEEDED
    for shown in ("dropped", "already gone"):
        done = scripts.run("db/drop")
        assert done.returncode == 0
        assert shown in done.stderr
    assert not is_there(url)


def test_setup_does_it_all_and_again_without_a_user_pool(url: str) -> None:
    for _ in range(2):
        done = scripts.run("db/setup")
        assert done.returncode == 0
        assert "No Cognito user pool is configured" in done.stderr
    assert handles(url) == SEEDED


def test_setup_goes_on_when_the_user_pool_does_not_answer(
    url: str, pool: LocalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "http://127.0.0.1:9")
    done = scripts.run("db/setup")
    assert done.returncode == 0
    assert "left as they are" in done.stderr
    assert handles(url) == SEEDED


def test_setup_links_the_users_and_says_who_matched_nobody(url: str, pool: LocalPool, cognito_client: Any) -> None:
    subs = {
        handle: ensure_user(
            cognito_client, pool, handle=handle, display_name=handle, email=f"{handle}@example.com".lower()
        )
        for handle in ("Augustsz", "bayko", "ghost")
    }
    for script in ("db/setup", "db/update_cognito_user_ids"):
        done = scripts.run(script)
        assert done.returncode == 0, done.stderr
        assert "Users without a Cognito user: londo\n" in done.stderr
        assert "Cognito users without a row in Postgres: ghost\n" in done.stderr
        assert "@" not in done.stderr
    assert "Cognito ids: 0 written, 2 already right" in done.stderr
    with Database(url) as database:
        ids = {row["handle"]: row["cognito_user_id"] for row in database.all("users/all")}
    assert ids == {"Augustsz": subs["Augustsz"], "bayko": subs["bayko"], "londo": None}


def test_update_cognito_user_ids_needs_a_pool_that_answers(
    url: str, pool: LocalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts.run("db/setup")
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", "us-east-1_NotThere1")
    done = scripts.run("db/update_cognito_user_ids")
    assert done.returncode == 1
    assert "us-east-1_NotThere1" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("words", [[], ["--yes"], ["prod"]])
def test_a_database_elsewhere_is_not_touched(name: str, words: list[str], pool: LocalPool) -> None:
    done = scripts.run(name, *words, stdin="cruddur\n", DATABASE_URL=FAR)
    assert done.returncode == 1
    assert done.stderr.startswith("Refused to ")
    assert "db.example.com/cruddur" in done.stderr
    assert "pa55word" not in done.stderr


@pytest.mark.parametrize("name", GUARDED)
def test_prod_and_yes_go_ahead(
    name: str, new_database: Callable[[], str], pool: LocalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", new_database())
    assert scripts.load("db/schema-load")([]) == 0
    monkeypatch.setattr("lib.postgres.database_url.is_local", lambda url: False)
    assert scripts.load(name)(["prod", "--yes"]) == 0


def test_missing_settings_are_named_with_a_hint() -> None:
    done = scripts.run("db/create")
    assert done.returncode == 2
    assert done.stderr.startswith("DATABASE_URL is missing")
    assert "./bin/dev" in done.stderr


def test_a_schema_that_is_not_loaded_is_told_in_a_line(url: str) -> None:
    scripts.run("db/create")
    done = scripts.run("db/seed")
    assert (done.returncode, done.stderr) == (1, 'relation "users" does not exist\n')


@pytest.mark.parametrize("name", ["db/create", "db/drop", "db/seed", "db/setup"])
def test_a_postgres_that_is_not_there_is_told_in_a_line(name: str) -> None:
    done = scripts.run(name, DATABASE_URL="postgresql://me:pa55word@127.0.0.1:9/cruddur")
    assert done.returncode == 1
    assert done.stderr.startswith("Postgres at 127.0.0.1:9/")
    assert done.stderr.count("\n") == 1
    assert "pa55word" not in done.stderr


def test_sessions_lists_who_is_connected(url: str) -> None:
    scripts.run("db/setup")
    with Database(url) as database:
        database.all("database/sessions")  # a query of several lines
        done = scripts.run("db/sessions")
    assert done.returncode == 0
    heading, *sessions = done.stdout.splitlines()
    assert heading.split() == ["pid", "application", "state", "age", "query"]
    assert [session.split()[1:3] for session in sessions] == [["cruddur-messages", "idle"]]
    assert "SELECT pid, application_name, state" in sessions[0]


def test_connect_opens_psql(url: str, tmp_path: Path) -> None:
    scripts.run("db/setup")
    # Without the system's psql, the one that the embedded Postgres brings is taken.
    variables = {"PATH": search_path(tmp_path / "path")}
    done = scripts.run("db/connect", "--", "-Atc", "SELECT count(*) FROM users", **variables)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_connect_says_when_there_is_no_psql(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", FAR)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert scripts.load("db/connect")([]) == 1
    assert "psql is not installed" in capsys.readouterr().err


def test_connect_keeps_the_password_off_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setenv("DATABASE_URL", FAR)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("os.execve", lambda *call: calls.append(call))
    scripts.load("db/connect")(["--", "-c", "SELECT 1"])
    [(program, command, environ)] = calls
    assert program == "/usr/bin/psql"
    assert command[2:] == ["-c", "SELECT 1"]
    assert "pa55word" not in " ".join(command)
    assert environ["PGPASSWORD"] == "pa55word"
