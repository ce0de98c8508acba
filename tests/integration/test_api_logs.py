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
    *("time", "level", "event", "method", "route", "status", "ms", "request_id", "trace_id", "user_uuid"),
    *("dynamodb_requests", "dynamodb_read_units", "dynamodb_write_units", "postgres_requests"),
]

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture
def debugged(api: Api) -> Iterator[Api]:
    """An application whose test clients accept a 500."""
    with api.variant() as verbose:
        verbose.app.test_client_class = FlaskClient
        yield verbose


def logged(api: Api) -> JSON:
    """The last line, which must be the line of a request."""
    line = api.lines()[-1]
    assert [name for name in line if name not in ("path", "codes")] == FIELDS
    assert ("codes" in line, "path" in line) == (line["status"] >= 400, line["status"] == 404)
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
    ("method", "path", "route", "status", "codes"),
    [
        ("GET", "/api/nothing", None, 404, ["not_found"]),
        ("GET", "/api/messages", None, 405, ["method_not_allowed"]),
        ("GET", "/api/message_groups", "/api/message_groups", 401, ["token_missing"]),
        ("HEAD", "/api/message_groups", "/api/message_groups", 401, ["token_missing"]),
        ("OPTIONS", "/api/messages", "/api/messages", 200, None),
        ("GET", "/api/users/@nobody/short", "/api/users/@<path:handle>/short", 404, ["user_not_found"]),
        ("GET", "/api/health-check", "/api/health-check", 200, None),
    ],
)
def test_request_without_a_user_logs_one_line(
    api: Api, method: str, path: str, route: str | None, status: int, codes: list[str] | None
) -> None:
    api.app.test_client().open(path, method=method)
    line = logged(api)
    assert (line["method"], line["route"], line["status"], line["user_uuid"]) == (method, route, status, None)
    assert (line.get("codes"), line.get("path")) == (codes, path if status == 404 else None)
    assert (line["dynamodb_requests"], line["dynamodb_read_units"], line["dynamodb_write_units"]) == (0, 0, 0)


def test_line_has_the_cost_of_its_own_request(api: Api) -> None:
    anna = api.sign_up()
    for postgres_requests in (2, 0, 0):  # the connection is checked before it is lent
        anna.inbox()
        line = logged(api)
        assert (line["postgres_requests"], line["dynamodb_requests"]) == (postgres_requests, 1)
    anna.client.get("/api/ready")
    assert logged(api)["postgres_requests"] == 3


def test_all_codes_of_a_refusal_are_logged(api: Api) -> None:
    assert refused(api.sign_up().post({})) == (422, logged(api)["codes"])
    assert len(logged(api)["codes"]) == 2


def test_path_of_a_404_is_logged_without_its_query_and_cut(api: Api) -> None:
    api.app.test_client().get(f"/{'%0a' * 150}{'é' * 150}?q={TEXT}")
    assert logged(api)["path"] == f"/{chr(10) * 150}{'é' * 49}"


PARENT = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("traceparent", "is_valid"),
    [
        *((f"00-{PARENT}", True), (f"cc-{PARENT}", True), (f"cc-{PARENT}-what-the-future-adds", True)),
        *((f"00-{PARENT}-more", False), (f"ff-{PARENT}", False), (f"00-{PARENT.upper()}", False), (PARENT, False)),
        *((f"00-{'0' * 32}{PARENT[32:]}", False), (f"00-{PARENT[:33]}{'0' * 16}-01", False), ("", False)),
    ],
)
def test_trace_id_of_a_valid_traceparent_is_logged(api: Api, traceparent: str, is_valid: bool) -> None:
    api.app.test_client().get("/api/message_groups", headers={"traceparent": traceparent})
    assert logged(api)["trace_id"] == (PARENT[:32] if is_valid else None)


def test_successful_health_checks_and_preflights_are_logged_at_debug(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.readiness._REMEMBERED_SECONDS", 0.0)
    preflight = {"Access-Control-Request-Method": "GET", "Origin": api.settings.frontend_url}
    client = api.app.test_client()
    for method, path, level in (
        *(("GET", "/api/health-check", "debug"), ("GET", "/api/ready", "debug"), ("POST", "/api/ready", "info")),
        *(("OPTIONS", "/api/messages", "debug"), ("GET", "/api/docs", "info")),
    ):
        client.open(path, method=method, headers=preflight)
        assert logged(api)["level"] == level
    with api.wire(aws_error(400, "AccessDeniedException")):
        client.get("/api/ready")
    assert (logged(api)["level"], logged(api)["codes"]) == ("info", ["dynamodb_unavailable"])


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
    anna.get("/", q=TEXT)
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
    monkeypatch.setattr(UserDirectory, "account", fail)
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
