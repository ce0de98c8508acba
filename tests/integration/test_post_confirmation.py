"""The function that Cognito calls after a sign-up, with a real Postgres, and without; and what repairs it then."""

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
from tests.support.api import Api, ok, run_api
from tests.support.sign_up_events import ATTRIBUTES, Log, event
from tools.local_stack.cognito import PASSWORD, LocalPool

STEP_SECONDS = 1.9  # as long as one step that fails may take: Cognito waits five for all of them
NOWHERE = "postgresql://127.0.0.1:9/nowhere"

function = sign_up_events.function
log = sign_up_events.log
api = pytest.fixture(scope="module")(run_api)


@pytest.fixture
def database(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The function's database, without users."""
    url = new_database()
    monkeypatch.setenv("DATABASE_URL", url)
    with Database(url) as made:
        made.script("db/schema.sql")
        yield made


@pytest.fixture
def secrets(ministack_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of Secrets Manager."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", ministack_url)
    client = boto3.client("secretsmanager")
    yield client
    client.close()


def handles(database: Database) -> list[str]:
    return [row["handle"] for row in database.all("users/all")]


def test_an_event_that_comes_again_changes_nothing(function: ModuleType, database: Database, log: Log) -> None:
    assert function.handler(event(), None) == event()
    before = database.all("users/all")
    assert [(row["handle"], row["cognito_user_id"]) for row in before] == [("anna", ATTRIBUTES["sub"])]
    assert function.handler(event(), None) == event()
    assert database.all("users/all") == before
    assert [(line["event"], line["outcome"]) for line in log()] == [
        ("user_provisioned", "created"),
        ("user_provisioned", "known"),
    ]


def test_a_handle_that_is_taken_is_told_to_the_log(function: ModuleType, database: Database, log: Log) -> None:
    function.handler(event(), None)
    assert function.handler(event(sub="another"), None) == event(sub="another")
    assert handles(database) == ["anna"]
    refusal = log()[-1]
    assert (refusal["event"], refusal["codes"], refusal["sub"]) == ("user_not_provisioned", ["handle_taken"], "another")


def test_an_outage_is_over_when_it_is_over(
    function: ModuleType, database: Database, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outage:
        outage.setenv("DATABASE_URL", NOWHERE)
        began = time.monotonic()
        assert function.handler(event(), None) == event()
        assert time.monotonic() - began < STEP_SECONDS
    [refusal] = log()
    assert (refusal["codes"], refusal["sub"]) == (["storage_unavailable"], ATTRIBUTES["sub"])
    assert refusal["cause"].startswith("DatabaseUnavailable('Postgres at 127.0.0.1:9/nowhere is unavailable")
    function.handler(event(), None)
    assert handles(database) == ["anna"]


def test_a_statement_that_hangs_is_given_up_in_time(function: ModuleType, database: Database, log: Log) -> None:
    function.handler(event(), None)
    with database.transaction() as locked:
        locked.execute("users/set_cognito_user_ids", handles=["anna"], subs=["another"])
        began = time.monotonic()
        assert function.handler(event(sub="third"), None) == event(sub="third")
        assert time.monotonic() - began < STEP_SECONDS
    assert log()[-1]["codes"] == ["storage_unavailable"]


def test_the_url_is_read_from_the_secret_and_again_when_it_fails(
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
def test_a_secret_that_cannot_be_read_harms_nobody(
    function: ModuleType, secrets: Any, monkeypatch: pytest.MonkeyPatch, log: Log, endpoint: str | None
) -> None:
    monkeypatch.setenv("DATABASE_SECRET_ARN", "arn:aws:secretsmanager:us-east-1:000000000000:secret:nowhere")
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
    began = time.monotonic()
    assert function.handler(event(), None) == event()
    assert time.monotonic() - began < STEP_SECONDS
    [refusal] = log()
    assert (refusal["event"], refusal["error"]) == ("user_not_provisioned", "SecretUnavailable")
    assert ("EndpointConnectionError" if endpoint else "ResourceNotFoundException") in refusal["cause"]


def test_a_confirmation_that_came_to_nothing_is_repaired_by_the_first_request(
    function: ModuleType,
    api: Api,
    user_pool: LocalPool,
    cognito_client: Any,
    ministack_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handle = f"nora-{uuid.uuid4().hex[:8]}"
    attributes = {"preferred_username": handle, "name": "Nora", "email": f"{handle}@example.com"}
    sub = sign_up(cognito_client, user_pool, attributes)
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    given = event(sub=sub, **attributes)
    assert function.handler(given, None) == given
    with api.variant(
        aws_cognito_user_pool_id=user_pool.user_pool_id,
        aws_cognito_user_pool_client_id=user_pool.client_id,
        aws_endpoint_url_cognito_identity_provider=ministack_url,
        cognito_issuer="",
        cognito_jwks_url=f"{ministack_url}/{user_pool.user_pool_id}/.well-known/jwks.json",
    ) as real:
        client, headers = (
            real.app.test_client(),
            {"Authorization": f"Bearer {sign_in(cognito_client, user_pool, handle)}"},
        )
        assert client.get(f"/api/users/@{handle}/short").status_code == 404
        assert ok(client.get("/api/message_groups", headers=headers)) == []
        profile = ok(client.get(f"/api/users/@{handle}/short"))
    assert (profile["handle"], profile["display_name"]) == (handle, "Nora")
    monkeypatch.setenv("DATABASE_URL", api.settings.database_url)
    function.handler(given, None)  # it comes late, and finds the same user
    with Database(api.settings.database_url) as database:
        assert [row["cognito_user_id"] for row in database.all("users/all") if row["handle"] == handle] == [sub]


def sign_up(client: Any, pool: LocalPool, attributes: dict[str, str]) -> str:
    """Sign up with Cognito and be confirmed by the administrator; the `sub`."""
    handle = attributes["preferred_username"]
    listed = [{"Name": name, "Value": value} for name, value in attributes.items()]
    user = client.sign_up(ClientId=pool.client_id, Username=handle, Password=PASSWORD, UserAttributes=listed)
    client.admin_confirm_sign_up(UserPoolId=pool.user_pool_id, Username=handle)
    return str(user["UserSub"])


def sign_in(client: Any, pool: LocalPool, handle: str) -> str:
    """The access token."""
    answer = client.initiate_auth(
        AuthFlow="USER_PASSWORD_AUTH",
        ClientId=pool.client_id,
        AuthParameters={"USERNAME": handle, "PASSWORD": PASSWORD},
    )
    return str(answer["AuthenticationResult"]["AccessToken"])
