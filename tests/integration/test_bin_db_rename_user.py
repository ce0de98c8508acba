"""bin/db/rename-user, and the other scripts that change who is who: what they change, and who is told."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from lib.cache.momento import Momento
from lib.config import CacheSettings
from lib.postgres.database import Database
from lib.users.directory import UserDirectory, link_cognito_users
from tests.integration.test_users import AUGUSTSZ, pool_user
from tests.support import scripts
from tests.support.momento_server import KEY, MomentoServer, momento
from tools.local_stack.cognito import LocalPool, ensure_user
from tools.seed.conversation import seed_users

BAD_HANDLE = "A handle has 1 to 255 visible characters"
BAD_NAME = "A display name has 1 to 255 characters and is not blank"


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
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MomentoServer]:
    """What the scripts' settings lead to."""
    with momento() as running:
        monkeypatch.setenv("MOMENTO_API_KEY", KEY)
        monkeypatch.setenv("MOMENTO_ENDPOINT", running.url)
        yield running


@contextmanager
def api_process(database: Database, server: MomentoServer) -> Iterator[UserDirectory]:
    """A process of the API that remembers nothing of its own yet."""
    cache = Momento(CacheSettings(momento_api_key=KEY, momento_endpoint=server.url), seconds=5)
    try:
        yield UserDirectory(database, cache)
    finally:
        cache.close()


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
def test_user_gets_another_handle_or_name_and_the_rest_stays(
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
def test_impossible_rename_is_told_in_a_sentence_and_changes_nothing(
    database: Database, run: scripts.Run, arguments: list[str], printed: str
) -> None:
    before = rows(database)
    assert run("rename-user", *arguments) == (1, [], f"{printed}\n")
    assert rows(database) == before


def test_other_processes_learn_of_a_rename(database: Database, server: MomentoServer, run: scripts.Run) -> None:
    with api_process(database, server) as users:
        users.by_cognito_user_id("sub-1")
        users.profile("Augustsz")
    assert run("rename-user", "Augustsz", "--handle", "august", "--display-name", "August")[0] == 0
    assert server.calls.count("Set") == 3
    with api_process(database, server) as users:
        renamed = users.by_cognito_user_id("sub-1")
        assert renamed
        assert (renamed.handle, renamed.display_name) == ("august", "August")
        assert users.profile("august") == renamed
        assert users.profile("Augustsz") is None


def test_rename_stands_when_the_cache_is_away(database: Database, server: MomentoServer, run: scripts.Run) -> None:
    server.fault = grpc.StatusCode.UNAVAILABLE
    status, _, said = run("rename-user", "Augustsz", "--handle", "august")
    renamed, warning = said.splitlines()
    assert (status, renamed) == (1, f"{AUGUSTSZ.uuid} is august, Augustsz")
    assert warning.startswith(
        "Could not invalidate the shared cache; some processes may use the old data for up to 660 seconds. "
    )
    assert KEY not in warning
    assert ("august", "Augustsz", "sub-1") in rows(database)
    assert server.calls == ["Set"]


@pytest.mark.parametrize(
    ("name", "fault", "status"),
    [
        ("update_cognito_user_ids", grpc.StatusCode.UNAVAILABLE, 1),
        ("update_cognito_user_ids", None, 0),
        ("setup", None, 0),
    ],
)
def test_other_processes_learn_of_a_new_cognito_id(
    name: str,
    fault: grpc.StatusCode | None,
    status: int,
    database: Database,
    server: MomentoServer,
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
    with api_process(database, server) as users:
        assert users.by_cognito_user_id("sub-1") == AUGUSTSZ
    server.fault = fault
    exited, _, said = run(name)
    assert (exited, "Could not invalidate" in said) == (status, fault is not None)
    server.fault = None
    with api_process(database, server) as users:
        assert users.by_cognito_user_id(sub) == AUGUSTSZ
        # If the cache was away, it keeps the old id for the rest of its time.
        assert users.by_cognito_user_id("sub-1") == (AUGUSTSZ if fault else None)
    cognito_client.delete_user_pool(UserPoolId=pool_id)
