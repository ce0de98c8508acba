"""The doctor on real engines: an older backend's table under the API, concurrent writers, and the script."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from rich.console import Console

from lib.clock import now
from lib.ddb.errors import WriteConflict
from lib.postgres.database import Database
from lib.users.accounts import User
from tests.support.api import Api, run_api
from tests.support.corruptions import OTHER
from tests.support.ddb_scripts import Run, run_in_process, take_for_foreign
from tests.support.doctor_fixtures import Report, run_doctor
from tests.support.old_data import GROUP, TIMES, old_conversation, old_message, old_row
from tests.support.old_table import ITEMS, PEOPLE, group_of, texts
from tests.support.roles import as_role, deploy_schema
from tests.support.stores import ANNA, BERT, CARL, TableContents, stores_on
from tests.support.users import add_users
from tools.cli import console
from tools.doctor.findings import PERSON, Code

api = pytest.fixture(scope="module")(run_api)
run = pytest.fixture(run_in_process)

SECRET = "what somebody wrote"


def test_doctor_migrates_the_rest_of_an_old_table(api: Api, dynamodb_client: Any) -> None:
    contents = TableContents(dynamodb_client, api.settings.ddb_table)
    contents.put(*ITEMS)
    add_users(api.database_url, *PEOPLE)
    anna, bert, _, _ = (api.sign_in(user) for user in PEOPLE)

    assert [row["uuid"] for row in anna.inbox()[:2]] == [group_of(6), group_of(3)]
    oldest = [message["message"] for message in bert.messages(group_of(1), order="asc")]
    assert oldest == [text for (pk, _), text in texts(ITEMS).items() if group_of(1) in pk]
    sent = [
        anna.reply("into the oldest", group=group_of(2))["message"],
        bert.write("to the newest", to=anna)["message"],
        anna.reply("after the year 9999 has begun", group=group_of(6))["message"],
    ]

    with Database(api.maintenance_url) as database:
        options = {"people": database, "clock": now, "fix": True}
        report = run_doctor(dynamodb_client, api.settings.ddb_table, **options)
        assert report.left == [Code.STATE_MISSING]
        assert {Code.NOT_MIGRATED, Code.ITEM_ATTRIBUTES} <= set(report.codes)
        assert run_doctor(dynamodb_client, api.settings.ddb_table, **options).codes == [Code.STATE_MISSING]

    after = texts(contents.items())
    assert {key: after[key] for key in texts(ITEMS)} == texts(ITEMS)
    assert sorted(after.values()) == sorted([*texts(ITEMS).values(), *sent])
    inboxes = [(person, person.inbox()) for person in map(api.sign_in, PEOPLE)]
    assert {row["uuid"] for _, inbox in inboxes for row in inbox} == {group_of(n) for n in range(1, 9)}
    for person, inbox in inboxes:
        for row in inbox:
            messages = person.messages(row["uuid"], limit=100)
            assert [message["seq"] for message in messages] == list(range(len(messages), 0, -1))
            assert not messages or (row["message"], row["seq"]) == (messages[0]["message"], len(messages))


def test_doctor_repairs_while_users_write(dynamodb_client: Any, table: str, contents: TableContents) -> None:
    sort_keys = [f"2023-01-01T00:00:00.{number:06}+00:00" for number in range(30)]
    contents.put(*old_conversation(*sort_keys), *old_conversation(*TIMES, group=OTHER, rows_at=TIMES[0]))
    group = stores_on(dynamodb_client, table)().send_to_user(sender=ANNA, receiver=CARL, text="0").group_uuid
    for number in range(5):
        contents.put(old_row(ANNA, f"2022-01-01T00:00:00.{number:06}+00:00", CARL, "a double", group=group))
    texts_of = {GROUP: [f"old {n}" for n in range(30)], OTHER: [f"old {n}" for n in range(3)], group: ["0"]}
    stop = threading.Event()

    def write(sender: User, conversations: list[str]) -> None:
        store = stores_on(dynamodb_client, table)()
        for number, conversation in zip(itertools.count(), itertools.cycle(conversations), strict=False):
            text = f"{sender.handle} {number}"
            with suppress(WriteConflict):
                store.send(group_uuid=conversation, sender=sender, text=text)
                texts_of[conversation].append(text)
            if stop.wait(0.003):
                break

    def run(**options: Any) -> Report:
        return run_doctor(dynamodb_client, table, clock=now, **options)

    with ThreadPoolExecutor(3) as threads:
        writers = [
            threads.submit(write, ANNA, [GROUP, group]),
            threads.submit(write, BERT, [GROUP, OTHER]),
            threads.submit(write, CARL, [group]),
        ]
        try:
            repairs = [run(fix=True) for _ in range(3)]
            codes = [run().codes for _ in range(5)]
        finally:
            stop.set()
        for writer in writers:
            writer.result()

    assert repairs[-1].left == []
    assert codes == [[]] * 5, "a sound table gives no finding while users write"
    assert run().codes == []
    for conversation, expected in texts_of.items():
        contents.check(conversation, expected)


@pytest.fixture
def configured(dynamodb_url: str, table: str, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the script: the test's own table, and a database with the people of these tests."""
    url = new_database()
    deploy_schema(url)
    add_users(url, ANNA, BERT, CARL)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url)
    monkeypatch.setenv("DDB_TABLE", table)
    monkeypatch.setenv("DATABASE_URL", as_role(url, "cruddur_maintenance"))


def test_script_shows_findings_by_code_and_repairs_them(
    run: Run, configured: None, contents: TableContents, table: str
) -> None:
    contents.put(*old_conversation(*TIMES), old_message(TIMES[0], CARL, SECRET, group=OTHER))
    status, data, printed = run("doctor")
    assert status == 1
    assert f"not_migrated: {Code.NOT_MIGRATED.meaning}" in data
    assert any(f"MSG#{OTHER} {TIMES[0]}" in line for line in data)
    assert any(re.search(r"GRP#\S+ \S+, GRP#\S+ \S+", line) for line in data), "a finding is one line"
    assert printed.endswith(": 6 items read, 2 found, 0 repaired, 2 left\n")

    status, data, _ = run("doctor", "--fix", "--json")
    *findings, summary = map(json.loads, data)
    assert status == 1
    assert sorted((finding["code"], finding["repaired"], finding["fix"]) for finding in findings) == [
        ("not_migrated", True, Code.NOT_MIGRATED.fix),
        ("state_missing", False, PERSON),
    ]
    assert summary["items"] == 6
    assert summary["summary"] == {"state_missing": {"found": 1, "left": 1}, "not_migrated": {"found": 1, "left": 0}}
    assert SECRET not in "".join(data)
    contents.remove({"pk": {"S": f"MSG#{OTHER}"}, "sk": {"S": TIMES[0]}})
    assert run("doctor", "--json")[:2] == (0, ['{"items": 7, "summary": {}}'])
    status, data, printed = run("doctor")
    assert (status, data) == (0, [])
    url = os.environ["AWS_ENDPOINT_URL_DYNAMODB"]
    assert printed.endswith(f"{table} at {url}: 7 items read, 0 found, 0 repaired, 0 left\n")


def test_script_checks_one_conversation(run: Run, configured: None, contents: TableContents) -> None:
    contents.put(*old_conversation(*TIMES), *old_conversation(*TIMES, group=OTHER))
    status, data, _ = run("doctor", "--json", "--group", OTHER.upper())
    assert status == 1
    assert {key["pk"] for key in json.loads(data[0])["keys"]} == {f"GRP#{ANNA.uuid}", f"GRP#{BERT.uuid}"}
    assert json.loads(data[-1]) == {"items": 5, "summary": {"not_migrated": {"found": 1, "left": 1}}}
    unknown = "99999999-0000-4000-8000-000000000009"
    assert run("doctor", "--group", unknown) == (1, [], f"There is no conversation {unknown}\n")
    assert run("doctor", "--group", "x")[0] == 2


def test_script_repairs_a_foreign_table_only_after_confirmation(
    run: Run, configured: None, contents: TableContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents.put(*old_conversation(*TIMES))
    take_for_foreign(monkeypatch)
    status, data, printed = run("doctor", "--fix")
    assert (status, data) == (1, [])
    assert printed.startswith("Refused to repair the table: ")
    assert len(contents.items()) == 5
    assert run("doctor")[0] == 1, "a check needs no confirmation"
    assert run("doctor", "prod", "--fix", "--yes")[0] == 0


def test_script_shows_its_progress_at_a_terminal(
    run: Run, configured: None, contents: TableContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=terminal, force_terminal=True, width=100))
    contents.put(*old_conversation(*TIMES))
    assert run("doctor", "--fix")[0] == 0
    output = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "Reading users" in output
    assert re.search(r"Reading items +[^\n]+ 5/", output)
    assert re.search(r"Checking conversations +[^\n]+ 1/", output)
