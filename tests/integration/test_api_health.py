"""Health and readiness over HTTP: which of the things it depends on does not answer, and within a second."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from werkzeug.test import TestResponse

from lib.version import VERSION
from tests.support.api import Api, ok, refused, run_api
from tools.local_stack.postgres import Postgres

POSTGRES = (503, ["postgres_unavailable"])
DYNAMODB = (503, ["dynamodb_unavailable"])
NO_PORT = "http://127.0.0.1:1"

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.readiness._DEADLINE_SECONDS", 0.2)


def get_ready(api: Api) -> TestResponse:
    """The answer, which must come within about a second."""
    began = time.monotonic()
    response = api.app.test_client().get("/api/ready")
    assert time.monotonic() - began < 1.3
    return response


def test_a_living_process_tells_its_version(api: Api) -> None:
    response = api.app.test_client().get("/api/health-check")
    assert ok(response) == {"success": True, "version": VERSION}


def test_a_process_without_any_dependency_lives(api: Api) -> None:
    with api.variant(database_url="postgresql:///x?host=/nowhere", aws_endpoint_url_dynamodb=NO_PORT) as alone:
        assert alone.app.test_client().get("/api/health-check").status_code == 200


def test_who_can_serve_is_ready(api: Api) -> None:
    assert ok(get_ready(api)) == {"success": True}


def test_a_table_that_is_missing_is_named(api: Api) -> None:
    with api.variant(ddb_table="not-there") as other:
        response = get_ready(other)
    assert refused(response) == DYNAMODB
    assert response.headers["Retry-After"] == "1"


def test_a_dynamodb_that_cannot_be_reached_is_named(api: Api) -> None:
    with api.variant(aws_endpoint_url_dynamodb=NO_PORT) as cut_off:
        assert refused(get_ready(cut_off)) == DYNAMODB


def test_a_dynamodb_that_hangs_is_named_within_a_second(api: Api, silent_url: str) -> None:
    with api.variant(aws_endpoint_url_dynamodb=silent_url) as waiting:
        assert refused(get_ready(waiting)) == DYNAMODB


@pytest.mark.usefixtures("short_deadline")
def test_a_dynamodb_that_hangs_is_named_alone_however_often_one_asks(api: Api, silent_url: str) -> None:
    with api.variant(aws_endpoint_url_dynamodb=silent_url) as waiting:
        assert [refused(get_ready(waiting)) for _ in range(5)] == [DYNAMODB] * 5


@pytest.mark.usefixtures("short_deadline")
def test_a_postgres_that_is_not_there_is_named(api: Api) -> None:
    with api.variant(database_url="postgresql:///x?host=/nowhere") as cut_off:
        assert refused(get_ready(cut_off)) == POSTGRES


@pytest.mark.usefixtures("short_deadline")
def test_everything_that_is_missing_is_named(api: Api) -> None:
    with api.variant(database_url="postgresql:///x?host=/nowhere", ddb_table="not-there") as cut_off:
        assert refused(get_ready(cut_off)) == (503, ["postgres_unavailable", "dynamodb_unavailable"])


def test_readiness_and_requests_come_back_with_postgres(api: Api, postgres_server: Postgres) -> None:
    anna, bert = api.couple()
    anna.write("hello", to=bert)
    newcomer = api.sign_up()
    postgres_server.stop()
    try:
        assert refused(get_ready(api)) == POSTGRES
        assert len(anna.inbox()) == 1  # who is known needs no Postgres
        response = newcomer.get("/api/message_groups")
        assert refused(response) == (503, ["storage_unavailable"])
        assert response.headers["Retry-After"] == "1"
    finally:
        postgres_server.start()
    assert newcomer.inbox() == []
    assert ok(get_ready(api)) == {"success": True}


def test_what_readiness_asks_of_dynamodb_is_counted(api: Api) -> None:
    get_ready(api)
    assert api.lines()[-1]["dynamodb_requests"] == 1
