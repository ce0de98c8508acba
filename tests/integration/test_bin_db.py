"""The scripts in bin/db on the embedded Postgres: their results, their second runs, and what they refuse."""

from __future__ import annotations

import io
import json
import shlex
import uuid
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import jwt
import psycopg
import pytest

from lib.config import CacheSettings
from lib.postgres.database import Database, create_database, drop_database
from lib.postgres.errors import DatabaseUnavailable
from lib.users.names import DISPLAY_NAME_RULE, HANDLE_RULE
from tests.integration.test_users import AUGUSTSZ
from tests.support import scripts, srp
from tests.support.cognito_ids import use_pool
from tests.support.ddb_scripts import seeded_database
from tests.support.fresh_machine import search_path
from tests.support.momento_server import KEY, MomentoServer, run_momento
from tools.cli.databases import script_cache
from tools.local_stack.cognito import LocalPool, ensure_user
from tools.local_stack.postgres import Postgres

SEEDED = {"Augustsz", "bayko", "londo"}
FAR = "postgresql://me:pa55word@db.example.com/cruddur"

server = pytest.fixture(run_momento)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> scripts.Run:
    return scripts.runner(capsys, "db")


@pytest.fixture
def url(postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """DATABASE_URL of a database that does not exist yet."""
    url = postgres_server.url(f"scripts-{uuid.uuid4().hex}")
    monkeypatch.setenv("DATABASE_URL", url)
    yield url
    drop_database(url)


@pytest.fixture
def pool(cognito_client: Any, ministack_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPool]:
    """The settings of an empty user pool."""
    pool_id = cognito_client.create_user_pool(PoolName=f"scripts-{uuid.uuid4().hex}")["UserPool"]["Id"]
    pool = LocalPool(pool_id, "no client is needed")
    use_pool(pool, ministack_url, monkeypatch)
    yield pool
    cognito_client.delete_user_pool(UserPoolId=pool_id)


@pytest.fixture
def local_pool(user_pool: LocalPool, ministack_url: str, monkeypatch: pytest.MonkeyPatch) -> LocalPool:
    """The settings of the local stack's user pool."""
    use_pool(user_pool, ministack_url, monkeypatch)
    return user_pool


@pytest.fixture
def shared(server: MomentoServer, monkeypatch: pytest.MonkeyPatch) -> MomentoServer:
    """The Momento server in the scripts' settings. It is too slow for a request of the API, but not for a script."""
    server.seconds = 0.1
    monkeypatch.setenv("MOMENTO_API_KEY", KEY)
    monkeypatch.setenv("MOMENTO_ENDPOINT", server.url)
    return server


@pytest.fixture
def filled(url: str) -> str:
    """The URL of a database with the seeded users. Two of them have Cognito ids."""
    create_database(url)
    return seeded_database(url)


def users(url: str) -> list[tuple[str, str, str | None]]:
    """The handles, display names and Cognito ids of all users."""
    with Database(url) as database:
        return sorted((row["handle"], row["display_name"], row["cognito_user_id"]) for row in database.all("users/all"))


def cognito_ids(url: str) -> dict[str, str | None]:
    """The Cognito ids of all users by their handles."""
    return {handle: cognito_user_id for handle, _, cognito_user_id in users(url)}


def email_of(handle: str) -> str:
    """The e-mail address of a seeded user."""
    return f"{handle.lower()}@example.com"


def test_second_run_of_each_step_changes_nothing(url: str, run: scripts.Run) -> None:
    for name, first, second in [
        ("create", "created", "already there"),
        ("schema-load", "the schema is up to date", "the schema is already up to date"),
        ("migrate", "the schema is already up to date", "the schema is already up to date"),
        ("seed", "3 users added", "0 users added"),
        ("drop", "dropped", "already gone"),
    ]:
        for outcome in (first, second):
            status, data, printed = run(name)
            assert (status, data, printed.endswith(f": {outcome}\n")) == (0, [], True)
        if name == "seed":
            assert cognito_ids(url).keys() == SEEDED
    with pytest.raises(DatabaseUnavailable):
        users(url)


def test_setup_needs_no_user_pool(url: str, pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_COGNITO_USER_POOL_ID")
    status, _, printed = run("setup")
    assert (status, "No Cognito user pool is configured" in printed) == (0, True)
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", pool.user_pool_id)
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "http://127.0.0.1:9")
    status, _, printed = run("setup")
    assert (status, "ids are left as they are. Cognito user pool" in printed) == (0, True)
    assert cognito_ids(url).keys() == SEEDED


def test_setup_reports_a_malformed_setting_of_the_cache(
    url: str, pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOMENTO_API_KEY", "short")
    status, _, printed = run("setup")
    assert (status, "MOMENTO_API_KEY" in printed, "No Cognito" in printed) == (2, True, False)


def test_cognito_ids_are_written_and_users_without_a_match_are_listed(
    url: str, pool: LocalPool, cognito_client: Any, run: scripts.Run
) -> None:
    subs = {
        handle: ensure_user(cognito_client, pool, handle=handle, display_name=handle, email=email_of(handle))
        for handle in ("Augustsz", "bayko", "ghost")
    }
    for name, counts in [("setup", "2 written, 0 already right"), ("update_cognito_user_ids", "0 written, 2 already")]:
        status, _, printed = run(name)
        assert status == 0
        assert f"Cognito ids: {counts}" in printed
        assert "Users without a Cognito user: londo\n" in printed
        assert "Cognito users without a row in Postgres: ghost\n" in printed
        assert "@" not in printed
    assert cognito_ids(url) == {"Augustsz": subs["Augustsz"], "bayko": subs["bayko"], "londo": None}


def test_forced_link_says_who_gets_the_row_and_asks(
    filled: str, pool: LocalPool, cognito_client: Any, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sub = ensure_user(cognito_client, pool, handle="londo", display_name="Mallory", email="mallory@a.test")
    assert (
        "Users whose handle a Cognito user has without a right to the row: londo" in run("update_cognito_user_ids")[2]
    )
    status, _, printed = run("update_cognito_user_ids", "--force", "londo")
    assert (status, "there is no terminal to ask at" in printed) == (1, True)
    assert f"The Cognito user {sub} (mallory@a.test, verified; CONFIRMED) gets this row" in printed
    assert "NOTHING PROVES that they are londo" in printed
    assert cognito_ids(filled)["londo"] is None
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    for answer, outcome in [("bayko", 1), ("londo", 0)]:
        monkeypatch.setattr("tools.cli.console.ask", lambda question, answer=answer: answer)
        assert run("update_cognito_user_ids", "--force", "londo")[0] == outcome
        assert cognito_ids(filled)["londo"] == (None if outcome else sub)


def test_missing_user_pool_is_reported_in_one_line(
    url: str, pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("setup")
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", "us-east-1_NotThere1")
    status, _, printed = run("update_cognito_user_ids")
    assert (status, "us-east-1_NotThere1" in printed, printed.count("\n")) == (1, True, 1)


def arguments_of(name: str) -> list[str]:
    return {"rename-user": ["bayko", "--handle", "bay"], "update_cognito_user_ids": ["--new-pool"]}.get(name, [])


def test_prod_and_yes_allow_changes_outside_a_local_stack(
    url: str, pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.postgres.database_url.is_local", lambda url: False)
    for name in ("create", "migrate", "schema-load", "seed", "setup", "update_cognito_user_ids", "rename-user", "drop"):
        assert run(name, *arguments_of(name), "prod", "--yes")[0] == 0


@pytest.mark.parametrize("name", ["setup", "update_cognito_user_ids"])
def test_wrong_user_pool_is_reported_and_changes_nothing(
    name: str, filled: str, pool: LocalPool, cognito_client: Any, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cognito_ids(filled)
    ensure_user(cognito_client, pool, handle="bayko", display_name="Bayko", email=email_of("bayko"))
    monkeypatch.setattr("lib.postgres.database_url.is_local", lambda url: False)
    assert "The user pool has no Cognito id of Postgres" in run(name, "prod", "--yes")[2]
    assert cognito_ids(filled) == before


def test_users_of_a_local_stack_do_not_reach_the_cache_of_another_system(url: str) -> None:
    far = CacheSettings(momento_api_key=KEY)
    near = CacheSettings(momento_api_key=KEY, momento_endpoint="http://127.0.0.1:9")
    assert script_cache(far, url) is None
    assert script_cache(near, url)
    assert script_cache(far, FAR)


def test_script_process_reports_errors_without_a_traceback(url: str) -> None:
    missing = scripts.run("db/create", DATABASE_URL="")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith("DATABASE_URL is missing")
    assert "./bin/dev" in missing.stderr
    created = scripts.run("db/create")
    assert (created.returncode, created.stdout, created.stderr.count("\n")) == (0, "", 1)
    for name in ("seed", "check"):
        unloaded = scripts.run(f"db/{name}")
        assert (unloaded.returncode, unloaded.stderr.count("\n")) == (1, 1)
        assert unloaded.stderr.endswith(': relation "users" does not exist: run ./bin/db/migrate first\n')


def test_missing_database_is_reported_with_the_script_that_creates_it(url: str, run: scripts.Run) -> None:
    for name in ("seed", "migrate", "sessions"):
        status, _, printed = run(name)
        assert (status, printed.endswith(" does not exist: run ./bin/db/create first\n"), printed.count("\n")) == (
            1,
            True,
            1,
        )


def test_schema_is_not_up_to_date_without_a_part_that_somebody_removed(url: str, run: scripts.Run) -> None:
    run("setup")
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE users DROP CONSTRAINT users_handle_key, DROP COLUMN email")
    for name in ("migrate", "schema-load", "setup"):
        status, _, printed = run(name)
        assert status == 1
        assert printed.endswith(
            ": all migrations are applied, but the schema differs: no column email of users; "
            "no constraint users_handle_key of users\n"
        )


@pytest.mark.parametrize("name", ["create", "drop", "migrate", "seed", "setup", "sessions", "rename-user"])
def test_unreachable_postgres_is_reported_in_one_line(
    name: str, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:local-only@127.0.0.1:9/cruddur")
    status, _, printed = run(name, *arguments_of(name))
    assert (status, printed.startswith("Postgres at 127.0.0.1:9/"), printed.count("\n")) == (1, True, 1)
    assert "local-only" not in printed


def test_sessions_lists_connections(url: str, run: scripts.Run) -> None:
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


def test_connect_reports_a_missing_psql(run: scripts.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", FAR)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, printed = run("connect")
    assert (status, "psql is not installed" in printed) == (1, True)


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


@pytest.mark.parametrize(
    ("arguments", "handle", "display_name"),
    [
        (["--handle", "august", "--display-name", "August 🐻"], "august", "August 🐻"),
        (["--handle", "august"], "august", "Augustsz"),
        (["--display-name", "August"], "Augustsz", "August"),
        (["--handle", "Augustsz", "--display-name", "Augustsz"], "Augustsz", "Augustsz"),
    ],
)
def test_rename_changes_the_given_names_of_one_user(
    arguments: list[str], handle: str, display_name: str, filled: str, run: scripts.Run
) -> None:
    others = users(filled)[1:]
    status, _, printed = run("rename-user", "Augustsz", *arguments)
    assert (status, printed.splitlines()[0]) == (0, f"{AUGUSTSZ.uuid}: handle {handle}, display name {display_name}")
    assert users(filled) == sorted([(handle, display_name, "sub-a"), *others])


@pytest.mark.parametrize("source", ["generated", "environment", "input"])
def test_added_user_signs_in_and_has_a_row(
    source: str,
    filled: str,
    local_pool: LocalPool,
    cognito_client: Any,
    run: scripts.Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    password, email = "Minbar-1234", f"delenn-{source}@a.test"
    arguments = ["delenn", email, "--display-name", "Delenn of Mir"]
    if source == "environment":
        monkeypatch.setenv("CRUDDUR_PASSWORD", password)
    if source == "input":
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        arguments.append("--password")
    status, data, printed = run("add-user", *arguments)
    assert (status, "display name Delenn of Mir" in printed, len(data)) == (0, True, int(source == "generated"))
    tokens = srp.sign_in(cognito_client, *astuple(local_pool), email, data[0] if data else password)
    sub = jwt.decode(tokens["AccessToken"], options={"verify_signature": False})["sub"]
    assert ("delenn", "Delenn of Mir", sub) in users(filled)
    run("update_cognito_user_ids")
    assert ("delenn", "Delenn of Mir", sub) in users(filled)
    again = run("add-user", *arguments[:2])
    assert (again[0], f"A Cognito user has {email} already" in again[2]) == (1, True)
    cognito_client.admin_delete_user(UserPoolId=local_pool.user_pool_id, Username=email)


def test_added_user_gets_the_waiting_row_of_their_address(
    filled: str, local_pool: LocalPool, cognito_client: Any, run: scripts.Run
) -> None:
    status, _, printed = run("add-user", "londo", email_of("londo"))
    assert (status, ": handle londo, display name Londo Mollari" in printed) == (0, True)
    assert cognito_ids(filled)["londo"]
    cognito_client.admin_delete_user(UserPoolId=local_pool.user_pool_id, Username=email_of("londo"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["bayko", "vir@a.test"], "Another user has the handle"),
        (["londo", "vir@a.test"], "waits for it with another e-mail address"),
        (["an\u200bna", "vir@a.test"], "A handle has 1 to 255 letters and digits"),
        (["vir", "vir@a.test", "--display-name", "\u2800"], "A display name has 1 to 255 visible characters"),
        (["an\udcffna", "vir@a.test"], "is no text"),
        (["vir", "no address"], "should be an email"),
    ],
)
def test_user_who_cannot_be_added_leaves_nothing(
    arguments: list[str],
    reason: str,
    filled: str,
    local_pool: LocalPool,
    cognito_client: Any,
    run: scripts.Run,
) -> None:
    before = users(filled)
    status, data, printed = run("add-user", *arguments)
    assert (status, data, reason in printed, printed.count("\n")) == (1, [], True, 1)
    assert users(filled) == before
    with pytest.raises(cognito_client.exceptions.UserNotFoundException):
        cognito_client.admin_get_user(UserPoolId=local_pool.user_pool_id, Username="vir@a.test")


def test_user_is_not_added_while_postgres_is_unavailable(
    filled: str, local_pool: LocalPool, cognito_client: Any, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Mock(side_effect=DatabaseUnavailable("It is away"))
    monkeypatch.setattr("lib.users.directory.UserDirectory.provision", outage)
    assert run("add-user", "vir", "vir@a.test") == (1, [], "It is away\n")
    with pytest.raises(cognito_client.exceptions.UserNotFoundException):
        cognito_client.admin_get_user(UserPoolId=local_pool.user_pool_id, Username="vir@a.test")


def test_user_is_added_to_a_local_stack_only(
    filled: str, local_pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "https://cognito.example.com")
    assert run("add-user", "vir", "vir@a.test") == (
        1,
        [],
        "Refused: AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER names no local stack's Cognito\n",
    )


def names_in_cognito(client: Any, pool: LocalPool, sub: str) -> tuple[str, str]:
    """The handle and the display name of a Cognito user."""
    pairs = client.admin_get_user(UserPoolId=pool.user_pool_id, Username=sub)["UserAttributes"]
    attributes = {pair["Name"]: pair["Value"] for pair in pairs}
    return attributes["preferred_username"], attributes["name"]


def test_rename_reaches_the_local_cognito(filled: str, pool: LocalPool, cognito_client: Any, run: scripts.Run) -> None:
    sub = ensure_user(cognito_client, pool, handle="londo", display_name="Londo", email=email_of("londo"))
    run("update_cognito_user_ids")
    assert run("rename-user", "londo", "--handle", "mollari")[:2] == (0, [])
    assert names_in_cognito(cognito_client, pool, sub) == ("mollari", "Londo")
    assert run("rename-user", "mollari", "--display-name", "The Ambassador")[:2] == (0, [])
    assert names_in_cognito(cognito_client, pool, sub) == ("mollari", "The Ambassador")
    cognito_client.admin_delete_user(UserPoolId=pool.user_pool_id, Username=sub)
    status, _, printed = run("rename-user", "mollari", "--handle", "londo")
    assert (status, "UserNotFoundException" in printed.splitlines()[-1]) == (1, True)


@pytest.mark.parametrize("pool_id", ["us-east-2_AbCdEfGhI", ""])
def test_rename_prints_the_command_for_a_user_pool_on_aws(
    pool_id: str, filled: str, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", pool_id)
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_CLIENT_ID", "a client")
    arguments = ["--handle", "august", "--display-name", 'Aug\'s, "the" 🐻']
    status, [command], printed = run("rename-user", "Augustsz", *arguments)
    assert (status, "Cognito still has the old names" in printed) == (0, True)
    words = shlex.split(command)
    assert words[:3] == ["aws", "cognito-idp", "admin-update-user-attributes"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert json.loads(options.pop("--user-attributes")) == [
        {"Name": "preferred_username", "Value": "august"},
        {"Name": "name", "Value": 'Aug\'s, "the" 🐻'},
    ]
    assert options == {"--user-pool-id": pool_id or "<user pool>", "--username": "sub-a"}


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["Augustsz", "--handle", "bayko"], "Another user has the handle bayko: nothing was changed"),
        (["nobody", "--handle", "somebody"], "No user has the handle nobody"),
        (["Augustsz"], "Give a new handle, a new display name, or both"),
        *((["Augustsz", "--handle", handle], HANDLE_RULE) for handle in ("", " august", "an\u200bna", "x" * 256)),
        *((["Augustsz", "--display-name", name], DISPLAY_NAME_RULE) for name in (" ", "x" * 256, "a\0b")),
    ],
)
def test_impossible_rename_prints_a_sentence_and_changes_nothing(
    filled: str, run: scripts.Run, arguments: list[str], printed: str
) -> None:
    before = users(filled)
    assert run("rename-user", *arguments) == (1, [], f"{printed}\n")
    assert users(filled) == before


def test_rename_invalidates_the_shared_cache(filled: str, shared: MomentoServer, run: scripts.Run) -> None:
    assert run("rename-user", "Augustsz", "--handle", "august")[0] == 0
    assert [entry.text for entry in shared.caches["cruddur"].values()] == [b""] * 4  # both ids and both handles


def test_rename_succeeds_with_a_warning_if_the_cache_fails(
    filled: str, shared: MomentoServer, run: scripts.Run
) -> None:
    shared.fault = grpc.StatusCode.UNAVAILABLE
    status, _, printed = run("rename-user", "Augustsz", "--handle", "august")
    renamed, warning, _ = printed.splitlines()
    assert (status, renamed) == (1, f"{AUGUSTSZ.uuid}: handle august, display name Augustsz")
    assert warning.startswith(
        "Could not invalidate the shared cache; some processes may use the old data for up to 660 seconds. "
    )
    assert KEY not in warning
    assert ("august", "Augustsz", "sub-a") in users(filled)
    assert shared.calls == ["Set"]


@pytest.mark.parametrize("fault", [None, grpc.StatusCode.UNAVAILABLE])
def test_new_cognito_id_invalidates_the_shared_cache_or_warns(
    fault: grpc.StatusCode | None,
    filled: str,
    shared: MomentoServer,
    pool: LocalPool,
    cognito_client: Any,
    run: scripts.Run,
) -> None:
    sub = ensure_user(cognito_client, pool, handle="Augustsz", display_name="A", email="augustsz@example.com")
    shared.fault = fault
    status, _, printed = run("update_cognito_user_ids")
    assert (status, "Could not invalidate" in printed) == ((1, True) if fault else (0, False))
    assert len(shared.caches["cruddur"]) == (0 if fault else 2)  # the old id and the new one
    assert cognito_ids(filled)["Augustsz"] == sub
