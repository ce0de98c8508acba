"""Reports: what a member may report, what the row holds, and what bin/db/reports shows."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from werkzeug.test import TestResponse

from tests.support import scripts
from tests.support.api import JSON, Api, Person, refused, run_api

REPORTS = "/api/reports"
TEXT, REASON = "a private threat", "Er bedroht mich 🐻\nseit gestern."

api = pytest.fixture(scope="module")(run_api)


def report(person: Person, **body: Any) -> TestResponse:
    return person.client.post(REPORTS, headers=person.headers, json=body)


def reported(person: Person, **body: Any) -> str:
    """Report; return the uuid of the report."""
    response = report(person, **{"reason": REASON, **body})
    assert response.status_code == 201, response.json
    assert response.json.keys() == {"uuid"}
    return str(response.json["uuid"])


def row(api: Api, report_uuid: str) -> JSON:
    with psycopg.connect(api.database_url, row_factory=dict_row) as connection:
        stored = connection.execute("SELECT * FROM reports WHERE uuid = %s", [report_uuid]).fetchone()
    assert stored is not None
    del stored["created_at"]
    return {name: str(value) if isinstance(value, uuid.UUID) else value for name, value in stored.items()}


def test_report_holds_ids_and_the_reason_and_no_text(api: Api) -> None:
    anna, bert = api.couple()
    sent = bert.write(TEXT, to=anna)
    group = sent["message_group_uuid"]
    anna.reply("no", group=group)
    of_message = reported(anna, message_group_uuid=group.upper(), created_at=sent["created_at"])
    of_conversation = reported(anna, message_group_uuid=group, created_at=None, reason=f" {REASON}\r\n")
    common = {
        "reporter_uuid": anna.user.uuid,
        "reported_user_uuid": bert.user.uuid,
        "message_group_uuid": group,
        "reason": REASON,
    }
    assert row(api, of_message) == {**common, "uuid": of_message, "message_created_at": sent["created_at"]}
    assert row(api, of_conversation) == {**common, "uuid": of_conversation, "message_created_at": None}
    assert not any(text in api.log.getvalue() for text in (TEXT, "bedroht"))


@pytest.mark.parametrize("form", [lambda time: time.replace("+00:00", "Z"), lambda time: time.replace("T", " ")])
def test_message_is_found_by_other_forms_of_its_time(api: Api, form: Any) -> None:
    anna, bert = api.couple()
    sent = bert.write(TEXT, to=anna)
    found = reported(anna, message_group_uuid=sent["message_group_uuid"], created_at=form(sent["created_at"]))
    assert row(api, found)["message_created_at"] == sent["created_at"]


@pytest.fixture
def run(api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> scripts.Run:
    """Runs a script of bin/db."""
    for name, value in api.server_variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATABASE_URL", api.maintenance_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return scripts.runner(capsys, "db")


def test_script_lists_reports_with_the_texts_and_handles_of_now(api: Api, run: scripts.Run) -> None:
    anna, bert = api.couple()
    carl = api.sign_up("carl")
    sent = bert.write(TEXT, to=anna)
    group = sent["message_group_uuid"]
    reported(anna, message_group_uuid=group, created_at=sent["created_at"])
    gone = bert.reply("gone", group=group)
    reported(anna, message_group_uuid=group, created_at=gone["created_at"], reason="two")
    reported(bert, message_group_uuid=group, reason="he reports me")
    carls = carl.write("hi", to=anna)["message_group_uuid"]
    reported(carl, message_group_uuid=carls, reason="three")
    key = {"pk": {"S": f"MSG#{group}"}, "sk": {"S": gone["created_at"]}}
    api.boto3.delete_item(TableName=api.settings.ddb_table, Key=key)
    api.execute("UPDATE users SET handle = handle || '-new' WHERE uuid = %s", bert.user.uuid)
    api.execute("DELETE FROM users WHERE uuid = %s", carl.user.uuid)
    now, anna_now = f"{bert.user.handle}-new", anna.user.handle

    status, (heading, *lines), printed = run("reports", "--limit", "4")
    assert (status, printed) == (0, "Reports: 4\n")
    assert heading == "created_at reporter reported message_group_uuid reason message"
    assert [line.split(" ", 1)[1] for line in lines] == [
        f"{carl.user.uuid} {anna_now} {carls} three -",
        f"{now} {anna_now} {group} he reports me -",
        f"{anna_now} {now} {group} two -",
        f"{anna_now} {now} {group} Er bedroht mich 🐻\\nseit gestern. {TEXT}",
    ]
    assert run("reports", "--limit", "4", "--handle", now.upper())[1] == [heading, *lines[2:]]
    assert run("reports", "--limit", "1")[1] == [heading, lines[0]]
    assert run("reports", "--handle", "nobody") == (1, [], "No user has the handle nobody\n")


def test_own_message_cannot_be_reported(api: Api) -> None:
    anna, bert = api.couple()
    sent = anna.write("hi", to=bert)
    body = {"message_group_uuid": sent["message_group_uuid"], "created_at": sent["created_at"], "reason": REASON}
    assert refused(report(anna, **body)) == (422, ["user_is_caller"])


def test_only_what_the_caller_can_read_can_be_reported(api: Api) -> None:
    anna, bert = api.couple()
    sent = bert.write(TEXT, to=anna)
    other = api.sign_up("carl").write("hi", to=anna)
    group = sent["message_group_uuid"]
    missing = (404, ["message_group_not_found"])
    assert refused(report(anna, message_group_uuid=str(uuid.uuid4()), reason=REASON)) == missing
    times = {"created_at": sent["created_at"]}
    assert refused(report(api.sign_up("eve"), message_group_uuid=group, reason=REASON, **times)) == missing
    for time in (other["created_at"], "2025-01-01T00:00:00Z"):
        response = report(anna, message_group_uuid=group, created_at=time, reason=REASON)
        assert refused(response) == (404, ["message_not_found"])


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ({}, ["message_group_uuid_blank", "reason_blank"]),
        ({"message_group_uuid": "", "reason": " \u200b"}, ["message_group_uuid_blank", "reason_blank"]),
        (
            {"message_group_uuid": 1, "created_at": 2, "reason": 3},
            ["message_group_uuid_invalid", "created_at_invalid", "reason_invalid"],
        ),
        (
            {"message_group_uuid": "x", "created_at": "yesterday", "reason": "a\0b"},
            ["message_group_uuid_invalid", "created_at_invalid", "reason_invalid"],
        ),
        ({"message_group_uuid": str(uuid.uuid4()), "reason": "x" * 1025}, ["reason_exceed_max_chars"]),
    ],
)
def test_wrong_report_is_refused_with_all_codes(api: Api, body: JSON, codes: list[str]) -> None:
    assert refused(report(api.sign_up(), **body)) == (422, codes)


@pytest.mark.parametrize("body", [[], "x", 7])
def test_report_is_an_object(api: Api, body: Any) -> None:
    anna = api.sign_up()
    response = anna.client.post(REPORTS, headers=anna.headers, json=body)
    assert refused(response) == (422, ["body_invalid"])


def test_longest_reason_is_stored(api: Api) -> None:
    anna, bert = api.couple()
    group = bert.write(TEXT, to=anna)["message_group_uuid"]
    assert row(api, reported(anna, message_group_uuid=group, reason="🐻" * 1024))["reason"] == "🐻" * 1024
