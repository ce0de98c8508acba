"""The log of the API: one line of numbers and ids for each request, and no text or secret of a user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ParamValidationError
from flask.testing import FlaskClient
from psycopg.errors import UniqueViolation

from lib.ddb.store import MessageStore
from lib.users.directory import UserDirectory
from tests.support.api import JSON, Api, Person, aws_error, refused, run_api

TEXT = "a secret rendezvous at midnight"
FIELDS = [
    *("time", "level", "event", "method", "route", "status", "ms", "request_id", "user_uuid"),
    *("dynamodb_requests", "dynamodb_read_units", "dynamodb_write_units", "postgres_requests"),
]

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture
def debugged(api: Api) -> Iterator[Api]:
    """An application at the log level `debug`, whose test clients accept a 500."""
    with api.variant(log_level="debug") as verbose:
        verbose.app.test_client_class = FlaskClient
        yield verbose


def logged(api: Api) -> JSON:
    """The last line, which must be the line of a request."""
    line = api.lines()[-1]
    assert list(line) == FIELDS
    assert line["event"] == "request"
    return line


def assert_discreet(api: Api, *people: Person) -> None:
    """Assert that the log has no text, token or e-mail address of these users."""
    log = api.log.getvalue()
    assert log
    assert "rendezvous" not in log
    for person in people:
        token = person.authorization.removeprefix("Bearer ")
        for secret in (token, token.split(".")[2], f"{person.user.handle}@example.com", "@example.com"):
            assert secret not in log


def test_request_logs_one_line(api: Api) -> None:
    anna, bert = api.couple()
    before = len(api.lines())
    sent = anna.write(TEXT, to=bert)
    line = logged(api)
    assert len(api.lines()) == before + 1
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    assert line["level"] == "info"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/api/messages", 200)
    assert 0 < line["ms"] < 10_000
    assert re.fullmatch(r"[0-9a-f-]{36}", line["request_id"])
    assert line["user_uuid"] == anna.user.uuid
    assert line["dynamodb_requests"] == 4
    assert line["dynamodb_write_units"] >= 5  # the new items; engines differ in the extra units of a transaction
    bert.messages(sent["message_group_uuid"])
    line = logged(api)
    assert (line["method"], line["route"]) == ("GET", "/api/messages/<message_group_uuid>")
    assert (line["dynamodb_requests"], line["dynamodb_read_units"], line["dynamodb_write_units"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/api/nothing", None, 404),
        ("GET", "/api/messages", None, 405),
        ("GET", "/api/message_groups", "/api/message_groups", 401),
        ("OPTIONS", "/api/messages", "/api/messages", 200),
        ("GET", "/api/users/@nobody/short", "/api/users/@<handle>/short", 404),
        ("GET", "/api/health-check", "/api/health-check", 200),
    ],
)
def test_request_without_a_user_logs_one_line(api: Api, method: str, path: str, route: str | None, status: int) -> None:
    api.app.test_client().open(path, method=method)
    line = logged(api)
    assert (line["method"], line["route"], line["status"], line["user_uuid"]) == (method, route, status, None)
    assert (line["dynamodb_requests"], line["dynamodb_read_units"], line["dynamodb_write_units"]) == (0, 0, 0)


def test_line_has_the_cost_of_its_own_request(api: Api) -> None:
    anna = api.sign_up()
    for postgres_requests in (2, 0, 0):  # the connection is checked before it is lent
        anna.inbox()
        line = logged(api)
        assert (line["postgres_requests"], line["dynamodb_requests"]) == (postgres_requests, 1)
    anna.client.get("/api/ready")
    assert logged(api)["postgres_requests"] == 2


def test_log_has_no_text_of_users(debugged: Api) -> None:
    anna, bert = debugged.couple()
    group = anna.write(TEXT, to=bert)["message_group_uuid"]
    bert.reply(TEXT, group=group)
    bert.messages(group)
    anna.inbox()
    anna.post({"message": f"{TEXT}\0", "handle": bert.user.handle})
    anna.post({"message": "hello", "handle": TEXT})
    anna.post_bytes(TEXT.encode())
    anna.get(f"/api/messages/{TEXT}", cursor=TEXT, limit=TEXT)
    anna.get(f"/{TEXT}", q=TEXT)
    anna.client.get("/api/message_groups", headers={"Authorization": f"{anna.authorization} {TEXT}"})
    anna.client.get("/api/message_groups", headers={"Authorization": f"{anna.authorization}x", "X-Request-Id": TEXT})
    assert_discreet(debugged, anna, bert)


@pytest.mark.parametrize(
    ("code", "status", "logged_fields"),
    [
        ("AccessDeniedException", 503, {"event": "unavailable", "level": "warning", "codes": ["storage_unavailable"]}),
        ("ValidationException", 500, {"event": "request_failed", "level": "error", "error": "RequestRejected"}),
    ],
)
def test_log_names_a_fault_of_dynamodb_by_its_code_alone(
    debugged: Api, code: str, status: int, logged_fields: JSON
) -> None:
    anna, bert = debugged.couple()
    anna.write(TEXT, to=bert)
    with debugged.wire(aws_error(400, code, Item=TEXT)):
        assert anna.post({"message": TEXT, "handle": bert.user.handle}).status_code == status
    event, line = debugged.lines()[-2:]
    assert event | logged_fields == event
    assert code in event["cause" if status == 503 else "code"]
    assert line["status"] == status
    assert_discreet(debugged, anna, bert)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(TEXT),
        ExceptionGroup(TEXT, [ValueError(TEXT)]),
        ParamValidationError(report=f'Invalid type for parameter Item.message, value: "{TEXT}"'),
        UniqueViolation(f"Key (email)=(anna@example.com) already exists: {TEXT}"),
        UnicodeEncodeError("utf-8", TEXT, 0, 1, TEXT),
        KeyError(TEXT),
    ],
    ids=lambda error: type(error).__name__,
)
def test_bug_is_logged_by_its_place_without_its_message(
    debugged: Api, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        try:
            raise ValueError(TEXT)
        except ValueError as cause:
            raise error from cause

    anna, bert = debugged.couple()
    monkeypatch.setattr(MessageStore, "send_to_user", fail)
    assert refused(anna.post({"message": TEXT, "handle": bert.user.handle})) == (500, ["internal_error"])
    event, line = debugged.lines()[-2:]
    assert (event["event"], event["level"], event["error"]) == ("request_failed", "error", type(error).__name__)
    assert event["request_id"] == line["request_id"]
    assert event["at"][-1].endswith(" fail")
    assert (line["status"], line["user_uuid"]) == (500, anna.user.uuid)
    assert_discreet(debugged, anna, bert)


def test_bug_before_authentication_is_logged(debugged: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(TEXT)

    anna = debugged.sign_up()
    monkeypatch.setattr(UserDirectory, "by_cognito_user_id", fail)
    assert refused(anna.get("/api/message_groups")) == (500, ["internal_error"])
    assert logged(debugged)["user_uuid"] is None
    assert_discreet(debugged, anna)


def test_unsendable_value_is_not_logged(debugged: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.ddb.store.to_timestamp", lambda moment: [TEXT])
    anna, bert = debugged.couple()
    assert anna.post({"message": TEXT, "handle": bert.user.handle}).status_code == 500
    assert debugged.lines()[-2]["error"] == "TypeError"
    assert_discreet(debugged, anna, bert)


def test_higher_log_level_hides_the_request_lines(api: Api) -> None:
    with api.variant(log_level="error") as quiet:
        anna = quiet.sign_up()
        anna.inbox()
        with quiet.wire(aws_error(400, "AccessDeniedException")):
            anna.get("/api/message_groups")
        assert quiet.log.getvalue() == ""
