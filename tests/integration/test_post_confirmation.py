"""The function that Cognito calls after a sign-up, with a real Postgres and Secrets Manager, and without."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest

from lib.postgres.database import Database
from tests.support import sign_up_events
from tests.support.cognito_ids import write_cognito_ids
from tests.support.sign_up_events import ATTRIBUTES, Log, event
from tools.postgres.migrations import migrate

STEP_SECONDS = 1.9  # at most for one failing step: Cognito waits five seconds for all three
NOWHERE = "postgresql://127.0.0.1:9/nowhere"

function = sign_up_events.function
log = sign_up_events.log


@pytest.fixture
def database(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The function's database, without users."""
    url = new_database()
    monkeypatch.setenv("DATABASE_URL", url)
    migrate(url)
    with Database(url) as database:
        yield database


@pytest.fixture
def secrets(ministack_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of Secrets Manager."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", ministack_url)
    client = boto3.client("secretsmanager")
    yield client
    client.close()


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
    function: ModuleType, database: Database, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outage:
        outage.setenv("DATABASE_URL", NOWHERE)
        start = time.monotonic()
        assert function.handler(event(), None) == event()
        assert time.monotonic() - start < STEP_SECONDS
    [refusal] = log()
    assert (refusal["codes"], refusal["sub"]) == (["storage_unavailable"], ATTRIBUTES["sub"])
    assert refusal["cause"].startswith("DatabaseUnavailable('Postgres at 127.0.0.1:9/nowhere is unavailable")
    function.handler(event(), None)
    assert handles(database) == ["anna"]


def test_blocked_statement_ends_in_time(function: ModuleType, database: Database, log: Log) -> None:
    function.handler(event(), None)
    with database.transaction() as locked:
        write_cognito_ids(locked, anna="another")
        start = time.monotonic()
        assert function.handler(event(sub="third"), None) == event(sub="third")
        assert time.monotonic() - start < STEP_SECONDS
    assert log()[-1]["codes"] == ["storage_unavailable"]


def test_url_comes_from_the_secret_and_is_read_again_after_a_failure(
    function: ModuleType, database: Database, secrets: Any, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    url = os.environ["DATABASE_URL"]
    arn = secrets.create_secret(Name=f"database-{uuid.uuid4()}", SecretString=NOWHERE)["ARN"]
    monkeypatch.setenv("DATABASE_SECRET_ARN", arn)
    function.handler(event(), None)
    assert log()[-1]["codes"] == ["storage_unavailable"]
    secrets.put_secret_value(SecretId=arn, SecretString=url)
    monkeypatch.delenv("DATABASE_URL")
    function.handler(event(), None)
    assert handles(database) == ["anna"]


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9"])
def test_unreadable_secret_does_not_fail_the_sign_up(
    function: ModuleType, secrets: Any, monkeypatch: pytest.MonkeyPatch, log: Log, endpoint: str | None
) -> None:
    monkeypatch.setenv("DATABASE_SECRET_ARN", "arn:aws:secretsmanager:us-east-1:000000000000:secret:nowhere")
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
    start = time.monotonic()
    assert function.handler(event(), None) == event()
    assert time.monotonic() - start < STEP_SECONDS
    [refusal] = log()
    assert (refusal["event"], refusal["error"]) == ("user_not_provisioned", "SecretUnavailable")
    assert ("EndpointConnectionError" if endpoint else "ResourceNotFoundException") in refusal["cause"]
