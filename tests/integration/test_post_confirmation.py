"""The function that Cognito calls after a sign-up, with a real Postgres and without."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from lib.postgres.database import Database
from tests.support import sign_up_events
from tests.support.cognito_ids import write_cognito_ids
from tests.support.roles import as_role, deploy_schema
from tests.support.sign_up_events import ATTRIBUTES, Log, event
from tools.local_stack.postgres import Postgres

STEP_SECONDS = 1.9  # at most for one failing step: Cognito waits five seconds for all three

function = sign_up_events.function
log = sign_up_events.log


@pytest.fixture
def database(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The function's database, without users."""
    url = new_database()
    deploy_schema(url)
    monkeypatch.setenv("DATABASE_URL", as_role(url, "cruddur_post_confirmation"))
    with Database(url) as database:
        yield database


def handles(database: Database) -> list[str]:
    return [row["handle"] for row in database.all("users/all")]


def test_repeated_event_changes_nothing_and_a_taken_handle_is_logged(
    function: ModuleType, database: Database, log: Log
) -> None:
    assert function.handler(event(), None) == event()
    before = database.all("users/all")
    assert [(row["handle"], row["cognito_user_id"]) for row in before] == [("anna", ATTRIBUTES["sub"])]
    assert function.handler(event(), None) == event()
    assert [(line["event"], line["outcome"]) for line in log()] == [
        ("user_provisioned", "created"),
        ("user_provisioned", "known"),
    ]
    assert function.handler(event(sub="another"), None) == event(sub="another")
    [refusal] = log()
    assert (refusal["event"], refusal["codes"], refusal["sub"]) == ("user_not_provisioned", ["handle_taken"], "another")
    assert database.all("users/all") == before


def test_function_recovers_after_an_outage(
    function: ModuleType, database: Database, log: Log, postgres_server: Postgres
) -> None:
    function.handler(event(), None)
    postgres_server.stop()
    try:
        start = time.monotonic()
        assert function.handler(event(sub="missed"), None) == event(sub="missed")
        assert time.monotonic() - start < STEP_SECONDS
    finally:
        postgres_server.start()
    refusal = log()[-1]
    assert (refusal["codes"], refusal["sub"]) == (["storage_unavailable"], "missed")
    assert refusal["cause"].startswith("DatabaseUnavailable('Postgres at ")
    function.handler(event(sub="later", preferred_username="bert", email="bert@example.com"), None)
    assert handles(database) == ["anna", "bert"]


def test_missing_credentials_do_not_fail_the_sign_up(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+iam://cruddur_post_confirmation@127.0.0.1:9/nowhere")
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda session: None)
    assert function.handler(event(), None) == event()
    [refusal] = log()
    assert refusal["codes"] == ["storage_unavailable"]
    assert "no token to sign in with: Unable to locate credentials" in refusal["cause"]


def test_blocked_statement_ends_in_time(function: ModuleType, database: Database, log: Log) -> None:
    function.handler(event(), None)
    with database.transaction() as locked:
        write_cognito_ids(locked, anna="another")
        start = time.monotonic()
        assert function.handler(event(sub="third"), None) == event(sub="third")
        assert time.monotonic() - start < STEP_SECONDS
    assert log()[-1]["codes"] == ["storage_unavailable"]
