"""Health and readiness over HTTP: the API names each dependency that does not respond, within a second."""

from __future__ import annotations

import json
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from werkzeug.test import TestResponse

from lib.ddb.schema import table_definition
from lib.version import VERSION
from tests.support.api import Api, ok, refused, run_api
from tests.support.clocks import eventually
from tools.local_stack.postgres import Postgres
from tools.postgres.migrations import migrate

POSTGRES = (503, ["postgres_unavailable"])
DYNAMODB = (503, ["dynamodb_unavailable"])
COGNITO = (503, ["identity_provider_unavailable"])
READY = {"success": True, "keys_from": "user_pool"}
NO_PORT, NO_POSTGRES = "http://127.0.0.1:1", "postgresql:///x?host=/nowhere"

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.readiness._DEADLINE_SECONDS", 0.2)


def get_ready(api: Api) -> TestResponse:
    """The response, which must come within about a second."""
    began = time.monotonic()
    response = api.app.test_client().get("/api/ready")
    assert time.monotonic() - began < 1.3
    return response


def test_health_check_has_the_version_and_needs_no_dependency(api: Api) -> None:
    with api.variant(database_url=NO_POSTGRES, aws_endpoint_url_dynamodb=NO_PORT) as alone:
        response = alone.app.test_client().get("/api/health-check")
    assert ok(response) == {"success": True, "version": VERSION}


@pytest.mark.usefixtures("short_deadline")
@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"ddb_table": "not-there"}, DYNAMODB),
        ({"aws_endpoint_url_dynamodb": NO_PORT}, DYNAMODB),
        ({"database_url": NO_POSTGRES}, POSTGRES),
        ({"cognito_jwks_url": NO_PORT}, COGNITO),
        ({"database_url": NO_POSTGRES, "ddb_table": "not-there"}, (503, [*POSTGRES[1], *DYNAMODB[1]])),
    ],
)
def test_every_missing_dependency_is_named(api: Api, changes: dict[str, str], refusal: tuple[int, list[str]]) -> None:
    with api.variant(**changes) as other:
        response = get_ready(other)
    assert refused(response) == refusal
    assert response.headers["Retry-After"] == "1"


def test_hanging_dynamodb_is_named_within_a_second(api: Api, silent_url: str) -> None:
    with api.variant(aws_endpoint_url_dynamodb=silent_url) as waiting:
        assert refused(get_ready(waiting)) == DYNAMODB


@pytest.mark.usefixtures("short_deadline")
def test_hanging_key_host_is_named_and_does_not_delay_other_checks(
    api: Api, silent_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.readiness._REMEMBERED_SECONDS", 0.0)
    with api.variant(cognito_jwks_url=silent_url) as waiting:
        assert [refused(get_ready(waiting)) for _ in range(5)] == [COGNITO] * 5
        # Its late line must not be in the log of the next test.
        assert eventually(lambda: "jwks_fetch_failed" in {line["event"] for line in waiting.lines()})


def test_keys_of_the_fallback_suffice_and_are_named(api: Api) -> None:
    jwks = json.dumps(api.issuer.jwks)
    with api.variant(cognito_jwks_url=NO_PORT, cognito_jwks_fallback=jwks) as other:
        assert ok(get_ready(other)) == READY | {"keys_from": "fallback"}
        [line] = [line for line in other.lines() if line["event"] == "jwks_fetch_failed"]
        assert line["keys_from"] == "fallback"


@pytest.mark.usefixtures("short_deadline")
def test_hanging_dynamodb_does_not_delay_other_checks(
    api: Api, silent_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.readiness._REMEMBERED_SECONDS", 0.0)
    with api.variant(aws_endpoint_url_dynamodb=silent_url) as waiting:
        assert [refused(get_ready(waiting)) for _ in range(5)] == [DYNAMODB] * 5


def test_result_is_remembered_for_a_second_and_simultaneous_checks_share_one(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api.variant() as fresh:
        with ThreadPoolExecutor(6) as threads:
            assert [ok(response) for response in threads.map(get_ready, [fresh] * 6)] == [READY] * 6
        lines = [line for line in fresh.lines() if line["event"] == "request"]
        costs = [(line["dynamodb_requests"], line["postgres_requests"]) for line in lines]
        assert sorted(costs) == [(0, 0)] * 5 + [(1, 3)]
        monkeypatch.setattr("services.readiness._REMEMBERED_SECONDS", 0.0)
        get_ready(fresh)
        assert fresh.lines()[-1]["dynamodb_requests"] == 1


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("RENAME TO people", "no table users"),
        ("DROP COLUMN cognito_user_id", "no column cognito_user_id of users"),
        ("ALTER cognito_user_id SET NOT NULL", "column cognito_user_id of users: text NOT NULL instead of text"),
        (
            "ALTER email TYPE varchar(9)",
            "column email of users: character varying(9) NOT NULL instead of text NOT NULL",
        ),
        ("ALTER uuid DROP DEFAULT", "column uuid of users: uuid NOT NULL instead of uuid NOT NULL DEFAULT"),
        ("DROP CONSTRAINT users_handle_key", "no constraint users_handle_key of users"),
        ("DROP CONSTRAINT users_display_name_check", "no constraint users_display_name_check of users"),
        (
            "DROP CONSTRAINT users_handle_key, ADD CONSTRAINT users_handle_key UNIQUE (handle, email)",
            "constraint users_handle_key of users: UNIQUE (handle, email) instead of UNIQUE (handle)",
        ),
        ("DISABLE TRIGGER reserve_handle", "trigger reserve_handle of users: disabled instead of enabled"),
        ("ENABLE TRIGGER ALL; DROP FUNCTION write_handle_key CASCADE", "no trigger write_handle_key of users"),
    ],
)
def test_difference_of_the_schema_is_named_in_the_log(
    api: Api, new_database: Callable[[], str], change: str, difference: str
) -> None:
    url = new_database()
    migrate(url)
    with psycopg.connect(url) as connection:
        connection.execute(f"ALTER TABLE users {change}".encode())
    with api.variant(database_url=url) as other:
        assert refused(get_ready(other)) == POSTGRES
        [line] = [line for line in other.lines() if line["event"] == "unavailable"]
        assert f"has another schema: {difference}" in line["cause"]
        assert "run ./bin/db/migrate" in line["cause"]


def test_server_needs_the_migrations_of_its_own_checkout_and_runs_beside_newer_ones(
    api: Api, new_database: Callable[[], str]
) -> None:
    url = new_database()
    migrate(url)
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO schema_migrations (name, sha256) VALUES ('9999_newer', '')")
    with api.variant(database_url=url) as other:
        ok(get_ready(other))
        with psycopg.connect(url) as connection:
            connection.execute("DELETE FROM schema_migrations WHERE name = '0005_reserve_names_that_change'")
        assert eventually(lambda: get_ready(other).status_code == 503)
        [line] = [line for line in other.lines() if line["event"] == "unavailable"][-1:]
        assert "has another schema: no migration 0005_reserve_names_that_change: run ./bin/db/migrate" in line["cause"]


def test_missing_index_is_named_in_the_log(api: Api) -> None:
    definition = table_definition(f"messages-{uuid.uuid4().hex}")
    del definition["GlobalSecondaryIndexes"], definition["AttributeDefinitions"][2]
    api.boto3.create_table(**definition)
    with api.variant(ddb_table=definition["TableName"]) as other:
        assert refused(get_ready(other)) == DYNAMODB
        [line] = [line for line in other.lines() if line["event"] == "unavailable"]
        assert "has no index message-group-sk-index on message_group_uuid" in line["cause"]
    api.boto3.delete_table(TableName=definition["TableName"])


def test_log_names_what_both_dependencies_lack(api: Api, new_database: Callable[[], str]) -> None:
    with api.variant(database_url=new_database(), ddb_table="not-there") as other:
        assert refused(get_ready(other)) == (503, [*POSTGRES[1], *DYNAMODB[1]])
        [line] = [line for line in other.lines() if line["event"] == "unavailable"]
        assert re.search("no table users.*ResourceNotFoundException", line["cause"])


def test_request_without_the_schema_is_unavailable(api: Api, new_database: Callable[[], str]) -> None:
    anna = api.sign_up()
    with api.variant(database_url=new_database()) as other:
        response = other.sign_in(anna.user).get("/api/message_groups")
        assert refused(response) == (503, ["storage_unavailable"])
        [line] = [line for line in other.lines() if line["event"] == "unavailable"]
        assert 'relation "users" does not exist: run ./bin/db/migrate' in line["cause"]


def test_readiness_and_requests_recover_with_postgres(api: Api, postgres_server: Postgres) -> None:
    anna, bert = api.couple()
    anna.write("hello", to=bert)
    newcomer = api.sign_up()
    postgres_server.stop()
    try:
        assert refused(get_ready(api)) == POSTGRES
        assert len(anna.inbox()) == 1  # a cached user needs no Postgres
        response = newcomer.get("/api/message_groups")
        assert refused(response) == (503, ["storage_unavailable"])
        assert response.headers["Retry-After"] == "1"
    finally:
        postgres_server.start()
    assert newcomer.inbox() == []
    time.sleep(1)  # for so long, the server remembers the last result
    assert ok(get_ready(api)) == READY
    assert api.lines()[-1]["dynamodb_requests"] == 1
