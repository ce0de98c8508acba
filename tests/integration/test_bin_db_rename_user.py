"""bin/db/rename-user, and how the scripts that change users invalidate the shared cache."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from lib.postgres.database import Database
from lib.users.directory import link_cognito_users
from tests.integration.test_users import AUGUSTSZ, pool_user
from tests.support import scripts
from tests.support.momento_server import KEY, MomentoServer, run_momento
from tools.local_stack.cognito import LocalPool, ensure_user
from tools.seed.conversation import seed_users

BAD_HANDLE = "A handle has 1 to 255 visible characters"
BAD_NAME = "A display name has 1 to 255 characters and is not blank"

server = pytest.fixture(run_momento)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> scripts.Run:
    return scripts.runner(capsys, "db")


@pytest.fixture
def database(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The database of DATABASE_URL, with the seeded users, of whom Augustsz has signed up."""
    url = new_database()
    monkeypatch.setenv("DATABASE_URL", url)
    with Database(url) as database:
        database.script("db/schema.sql")
        seed_users(database)
        link_cognito_users(database, [pool_user("sub-1", "Augustsz")])
        yield database


@pytest.fixture
def shared(server: MomentoServer, monkeypatch: pytest.MonkeyPatch) -> MomentoServer:
    """The server that the scripts' settings lead to. It is too slow for a request of the API, but not for a script."""
    server.seconds = 0.1
    monkeypatch.setenv("MOMENTO_API_KEY", KEY)
    monkeypatch.setenv("MOMENTO_ENDPOINT", server.url)
    return server


def rows(database: Database) -> list[tuple[str, str, str | None]]:
    return sorted((row["handle"], row["display_name"], row["cognito_user_id"]) for row in database.all("users/all"))


@pytest.mark.parametrize(
    ("arguments", "handle", "display_name"),
    [
        (["--handle", "august", "--display-name", "August 🐻"], "august", "August 🐻"),
        (["--handle", "august"], "august", "Augustsz"),
        (["--display-name", "August"], "Augustsz", "August"),
        (["--handle", "Augustsz", "--display-name", "Augustsz"], "Augustsz", "Augustsz"),
    ],
)
def test_rename_changes_what_is_given_and_nothing_else(
    arguments: list[str], handle: str, display_name: str, database: Database, run: scripts.Run
) -> None:
    others = rows(database)[1:]
    assert run("rename-user", "Augustsz", *arguments) == (0, [], f"{AUGUSTSZ.uuid} is {handle}, {display_name}\n")
    assert rows(database) == sorted([(handle, display_name, "sub-1"), *others])


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["Augustsz", "--handle", "bayko"], "Another user has the handle bayko: nothing was changed"),
        (["nobody", "--handle", "somebody"], "No user has the handle nobody"),
        (["Augustsz"], "Give a new handle, a new display name, or both"),
        *((["Augustsz", "--handle", handle], BAD_HANDLE) for handle in ("", " august", "an\u200bna", "x" * 256)),
        *((["Augustsz", "--display-name", name], BAD_NAME) for name in (" ", "x" * 256, "a\0b")),
    ],
)
def test_impossible_rename_prints_a_sentence_and_changes_nothing(
    database: Database, run: scripts.Run, arguments: list[str], printed: str
) -> None:
    before = rows(database)
    assert run("rename-user", *arguments) == (1, [], f"{printed}\n")
    assert rows(database) == before


def test_rename_invalidates_the_shared_cache(database: Database, shared: MomentoServer, run: scripts.Run) -> None:
    assert run("rename-user", "Augustsz", "--handle", "august")[0] == 0
    assert [entry.text for entry in shared.caches["cruddur"].values()] == [b""] * 3  # the id and both handles


def test_rename_without_the_cache_stands_and_warns(database: Database, shared: MomentoServer, run: scripts.Run) -> None:
    shared.fault = grpc.StatusCode.UNAVAILABLE
    status, _, printed = run("rename-user", "Augustsz", "--handle", "august")
    renamed, warning = printed.splitlines()
    assert (status, renamed) == (1, f"{AUGUSTSZ.uuid} is august, Augustsz")
    assert warning.startswith(
        "Could not invalidate the shared cache; some processes may use the old data for up to 660 seconds. "
    )
    assert KEY not in warning
    assert ("august", "Augustsz", "sub-1") in rows(database)
    assert shared.calls == ["Set"]


@pytest.mark.parametrize(
    ("script", "fault", "expected"),
    [
        ("update_cognito_user_ids", grpc.StatusCode.UNAVAILABLE, (1, True, 0)),
        ("update_cognito_user_ids", None, (0, False, 2)),
        ("setup", None, (0, False, 2)),
    ],
)
def test_new_cognito_id_invalidates_the_shared_cache_or_warns(
    script: str,
    fault: grpc.StatusCode | None,
    expected: tuple[int, bool, int],
    database: Database,
    shared: MomentoServer,
    cognito_client: Any,
    ministack_url: str,
    run: scripts.Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool_id = cognito_client.create_user_pool(PoolName=f"rename-{uuid.uuid4().hex}")["UserPool"]["Id"]
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", pool_id)
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_CLIENT_ID", "no client is needed")
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", ministack_url)
    pool = LocalPool(pool_id, "no client is needed")
    sub = ensure_user(cognito_client, pool, handle="Augustsz", display_name="A", email="augustsz@example.com")
    shared.fault = fault
    status, _, printed = run(script)
    assert (status, "Could not invalidate" in printed, len(shared.caches["cruddur"])) == expected
    assert ("Augustsz", "Augustsz", sub) in rows(database)
    cognito_client.delete_user_pool(UserPoolId=pool_id)
