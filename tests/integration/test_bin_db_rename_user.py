"""bin/db/rename-user, and the other script that changes who is who: what they change, and who is told."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from lib.cache.momento import Momento
from lib.cache.shared import Signed
from lib.config import CacheSettings
from lib.postgres.database import Database
from lib.users.directory import UserDirectory, link_cognito_users
from tests.integration.test_users import AUGUSTSZ, pool_user
from tests.support import scripts
from tests.support.momento_server import KEY, MomentoServer, momento
from tools.local_stack.cognito import LocalPool, ensure_user
from tools.seed.conversation import seed_users


@pytest.fixture
def database(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The database of DATABASE_URL, with the seeded users, of whom Augustsz has signed up."""
    url = new_database()
    monkeypatch.setenv("DATABASE_URL", url)
    with Database(url) as made:
        made.script("db/schema.sql")
        seed_users(made)
        link_cognito_users(made, [pool_user("sub-1", "Augustsz")])
        yield made


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
        yield UserDirectory(database, Signed(cache, "a secret of the API's"))
    finally:
        cache.close()


def rename(*arguments: str) -> int:
    return scripts.load("db/rename-user")(list(arguments))


def row(database: Database, handle: str) -> tuple[str, str, str | None]:
    [found] = [each for each in database.all("users/all") if each["handle"] == handle]
    return found["handle"], found["display_name"], found["cognito_user_id"]


def test_a_user_gets_another_handle_and_name(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert rename("Augustsz", "--handle", "august", "--display-name", "August 🐻") == 0
    assert tuple(capsys.readouterr()) == ("", f"{AUGUSTSZ.uuid} is august, August 🐻\n")
    assert row(database, "august") == ("august", "August 🐻", "sub-1")
    assert len(database.all("users/all")) == 3


def test_what_is_not_given_stays(database: Database) -> None:
    assert rename("Augustsz", "--display-name", "August") == 0
    assert row(database, "Augustsz") == ("Augustsz", "August", "sub-1")
    assert rename("Augustsz", "--handle", "august") == 0
    assert row(database, "august") == ("august", "August", "sub-1")


def test_the_same_again_changes_nothing(database: Database) -> None:
    for _ in range(2):
        assert rename("bayko", "--handle", "bayko", "--display-name", "Bayko") == 0
    assert row(database, "bayko") == ("bayko", "Bayko", None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["Augustsz", "--handle", "bayko"], "The handle bayko is another user's: nothing was changed\n"),
        (["nobody", "--handle", "somebody"], "No user has the handle nobody\n"),
        (["Augustsz"], "Neither a new handle nor a new display name was given\n"),
        (["Augustsz", "--handle", " august"], "A handle has 1 to 255 characters, all of which can be seen\n"),
        (["Augustsz", "--handle", ""], "A handle has 1 to 255 characters, all of which can be seen\n"),
        (["Augustsz", "--handle", "an\u200bna"], "A handle has 1 to 255 characters, all of which can be seen\n"),
        (["Augustsz", "--handle", "x" * 256], "A handle has 1 to 255 characters, all of which can be seen\n"),
        (["Augustsz", "--display-name", " "], "A display name has 1 to 255 characters and is not blank\n"),
        (["Augustsz", "--display-name", "x" * 256], "A display name has 1 to 255 characters and is not blank\n"),
        (["Augustsz", "--display-name", "a\0b"], "A display name has 1 to 255 characters and is not blank\n"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence_and_changes_nothing(
    database: Database, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    before = database.all("users/all")
    assert rename(*arguments) == 1
    assert capsys.readouterr().err == told
    assert database.all("users/all") == before


@pytest.mark.parametrize("words", [[], ["prod"], ["--yes"]])
def test_a_database_elsewhere_is_not_touched(words: list[str]) -> None:
    far = "postgresql://me:pa55word@db.example.com/cruddur"
    done = scripts.run("db/rename-user", "anna", *words, "--handle", "x", stdin="cruddur\n", DATABASE_URL=far)
    assert done.returncode == 1
    assert done.stderr.startswith("Refused to rename a user: db.example.com/cruddur is no local stack")
    assert "pa55word" not in done.stderr


def test_prod_and_yes_go_ahead(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.postgres.database_url.is_local", lambda url: False)
    assert rename("bayko", "prod", "--yes", "--handle", "bay") == 0
    assert row(database, "bay")


def test_another_process_shares_the_new_name_at_once(database: Database, server: MomentoServer) -> None:
    with api_process(database, server) as knew:
        knew.by_cognito_user_id("sub-1")
        knew.profile("Augustsz")
    done = scripts.run("db/rename-user", "Augustsz", "--handle", "august", "--display-name", "August")
    assert (done.returncode, done.stdout) == (0, "")
    assert server.calls.count("Set") == 3
    with api_process(database, server) as users:
        found = users.by_cognito_user_id("sub-1")
        assert found
        assert (found.handle, found.display_name) == ("august", "August")
        assert users.profile("august") == found
        assert users.profile("Augustsz") is None


def test_a_cache_that_is_not_told_is_said_and_the_rename_stands(
    database: Database, server: MomentoServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fault = grpc.StatusCode.UNAVAILABLE
    assert rename("Augustsz", "--handle", "august") == 1
    told, wrong = capsys.readouterr().err.splitlines()
    assert told == f"{AUGUSTSZ.uuid} is august, Augustsz"
    assert wrong.startswith("What processes share could not be told: some go by the old data for up to 660 seconds. ")
    assert KEY not in wrong
    assert row(database, "august")
    assert server.calls == ["Set"]


def test_ids_that_another_user_has_by_now_are_told_as_well(
    database: Database,
    server: MomentoServer,
    cognito_client: Any,
    ministack_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"rename-{uuid.uuid4().hex}"
    pool = LocalPool(cognito_client.create_user_pool(PoolName=name)["UserPool"]["Id"], "no client is needed")
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", pool.user_pool_id)
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_CLIENT_ID", pool.client_id)
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", ministack_url)
    sub = ensure_user(cognito_client, pool, handle="Augustsz", display_name="A", email="augustsz@example.com")
    for script, fault, status in [
        ("db/update_cognito_user_ids", grpc.StatusCode.UNAVAILABLE, 1),
        ("db/update_cognito_user_ids", None, 0),
        ("db/setup", None, 0),
    ]:
        link_cognito_users(database, [pool_user("sub-1", "Augustsz")])
        server.now += 3600
        with api_process(database, server) as knew:
            assert knew.by_cognito_user_id("sub-1") == AUGUSTSZ
        server.fault = fault
        assert scripts.load(script)([]) == status
        assert ("could not be told" in capsys.readouterr().err) == (fault is not None)
        server.fault = None
        with api_process(database, server) as users:
            assert users.by_cognito_user_id(sub) == AUGUSTSZ
            # Where it could not be told, the old one is there for the rest of its time.
            assert users.by_cognito_user_id("sub-1") == (AUGUSTSZ if fault else None)
    cognito_client.delete_user_pool(UserPoolId=pool.user_pool_id)
