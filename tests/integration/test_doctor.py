"""The doctor on real engines: an older backend's table under the API, and a table that is written to meanwhile."""

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
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from rich.console import Console

from lib.ddb.errors import WriteConflict
from lib.ddb.items import pair_key
from lib.postgres.database import Database
from lib.users.directory import User
from tests.support.api import Api, Person, run_api
from tests.support.corruptions import OTHER
from tests.support.ddb_scripts import Run, run_in_process, take_for_foreign
from tests.support.doctor_fixtures import run_doctor
from tests.support.old_data import GROUP, TIMES, old_conversation, old_message, old_row
from tests.support.old_table import ITEMS, PEOPLE, group_of, texts
from tests.support.stores import ANNA, BERT, CARL, TableContents, stores_on
from tools.cli import console
from tools.doctor.findings import PERSON, Code

api = pytest.fixture(scope="module")(run_api)
run = pytest.fixture(run_in_process)

SECRET = "what somebody wrote"


@pytest.fixture
def contents(dynamodb_client: Any, table: str) -> TableContents:
    return TableContents(dynamodb_client, table)


def sign_up(url: str, *users: User) -> None:
    """Put users into Postgres, each with the `sub` of the tests' tokens."""
    with psycopg.connect(url) as connection:
        for user in users:
            connection.execute(
                "INSERT INTO users (uuid, handle, display_name, email, cognito_user_id) VALUES (%s, %s, %s, %s, %s)",
                (user.uuid, user.handle, user.display_name, f"{user.handle}@example.com", f"sub-{user.uuid}"),
            )


def test_api_works_on_an_old_table_and_the_doctor_migrates_the_rest(api: Api, dynamodb_client: Any) -> None:
    contents = TableContents(dynamodb_client, api.settings.ddb_table)
    contents.put(*ITEMS)
    sign_up(api.settings.database_url, *PEOPLE)
    anna, bert, _, _ = (api.sign_in(user) for user in PEOPLE)

    assert [row["uuid"] for row in anna.inbox()[:2]] == [group_of(6), group_of(3)]
    asked = [message["message"] for message in bert.messages(group_of(1), order="asc")]
    assert asked == [text for (pk, _), text in texts(ITEMS).items() if group_of(1) in pk]
    sent = [
        anna.answer("into the oldest", group=group_of(2))["message"],
        bert.write("to the newest", to=anna)["message"],
        anna.answer("after the year 9999 has begun", group=group_of(6))["message"],
    ]

    with Database(api.settings.database_url) as database:
        look = {"people": database, "clock": lambda: datetime.now(UTC)}
        done = run_doctor(dynamodb_client, api.settings.ddb_table, fix=True, **look)
        assert done.left == [Code.STATE_MISSING]
        assert {Code.NOT_MIGRATED, Code.ITEM_ATTRIBUTES} <= set(done.codes)
        assert run_doctor(dynamodb_client, api.settings.ddb_table, fix=True, **look).codes == [Code.STATE_MISSING]

    after = texts(contents.items())
    assert {key: after[key] for key in texts(ITEMS)} == texts(ITEMS)
    assert sorted(after.values()) == sorted([*texts(ITEMS).values(), *sent])
    everybody = [api.sign_in(user) for user in PEOPLE]
    assert {row["uuid"] for person in everybody for row in person.inbox()} == {group_of(n) for n in range(1, 9)}
    for person in everybody:
        check_inbox(person)


def check_inbox(person: Person) -> None:
    """Every conversation of an inbox shows the newest of its messages, which are in order."""
    for row in person.inbox():
        messages = person.messages(row["uuid"], limit=100)
        assert [message["seq"] for message in messages] == list(range(len(messages), 0, -1))
        if messages:
            assert (row["message"], row["seq"]) == (messages[0]["message"], len(messages))


def test_doctor_repairs_while_two_users_write(dynamodb_client: Any, table: str, contents: TableContents) -> None:
    other = OTHER
    old = [f"2023-01-01T00:00:00.{number:06}+00:00" for number in range(30)]
    contents.put(*old_conversation(*old), *old_conversation(*TIMES, group=other, rows_at=TIMES[0]))
    group = stores_on(dynamodb_client, table)().send_to_user(sender=ANNA, receiver=CARL, text="0").group_uuid
    for number in range(5):
        contents.put(old_row(ANNA, f"2022-01-01T00:00:00.{number:06}+00:00", CARL, "a double", group=group))
    stop = threading.Event()

    def write(sender: User, conversations: list[str]) -> dict[str, list[str]]:
        store, sent = stores_on(dynamodb_client, table)(), {group: [] for group in conversations}
        for number in itertools.count():
            for conversation in conversations:
                text = f"{sender.handle} {number}"
                with suppress(WriteConflict):
                    store.send(group_uuid=conversation, sender=sender, text=text)
                    sent[conversation].append(text)
            if stop.wait(0.005):
                break
        return sent

    with ThreadPoolExecutor(3) as threads:
        writing = [
            threads.submit(write, ANNA, [GROUP, group]),
            threads.submit(write, BERT, [GROUP, other]),
            threads.submit(write, CARL, [group]),
        ]
        try:
            repairs = [run_doctor(dynamodb_client, table, fix=True, clock=lambda: datetime.now(UTC)) for _ in range(3)]
            looked = [run_doctor(dynamodb_client, table, clock=lambda: datetime.now(UTC)) for _ in range(5)]
        finally:
            stop.set()
        sent = [future.result() for future in writing]

    assert repairs[-1].left == []
    assert [each.codes for each in looked] == [[]] * 5, "a sound table that is written to gives no finding"
    assert run_doctor(dynamodb_client, table, clock=lambda: datetime.now(UTC)).codes == []
    there = {GROUP: [f"old {n}" for n in range(30)], other: [f"old {n}" for n in range(3)], group: ["0"]}
    for conversation, texts_before in there.items():
        contents.check(conversation, [*texts_before, *(text for each in sent for text in each.get(conversation, []))])


@pytest.fixture
def configured(dynamodb_url: str, table: str, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the script: the test's own table, and a database with the people of these tests."""
    url = new_database()
    with Database(url) as database:
        database.script("db/schema.sql")
    sign_up(url, ANNA, BERT, CARL)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url)
    monkeypatch.setenv("DDB_TABLE", table)
    monkeypatch.setenv("DATABASE_URL", url)


def test_script_reports_a_sound_table_and_shows_a_findings_keys_on_one_line(
    run: Run, configured: None, contents: TableContents, dynamodb_client: Any, table: str
) -> None:
    stores_on(dynamodb_client, table)().send_to_user(sender=ANNA, receiver=BERT, text=SECRET)
    status, data, said = run("doctor")
    assert (status, data) == (0, [])
    assert said.endswith(
        f"{table} at {os.environ['AWS_ENDPOINT_URL_DYNAMODB']}: 5 items read, 0 found, 0 repaired, 0 left\n"
    )
    contents.remove(pair_key(ANNA.uuid, BERT.uuid))
    assert any(re.search(r"PAIR#\S+ STATE, CONV#\S+ STATE", line) for line in run("doctor")[1])


def test_script_shows_findings_by_code_and_repairs_what_it_can(
    run: Run, configured: None, contents: TableContents
) -> None:
    contents.put(*old_conversation(*TIMES), old_message(TIMES[0], CARL, SECRET, group=OTHER))
    status, data, said = run("doctor")
    assert status == 1
    assert f"not_migrated: {Code.NOT_MIGRATED.meaning}" in data
    assert any(f"MSG#{OTHER} {TIMES[0]}" in line for line in data)
    assert said.endswith(": 6 items read, 2 found, 0 repaired, 2 left\n")

    status, data, said = run("doctor", "--fix", "--json")
    *findings, summary = map(json.loads, data)
    assert status == 1
    assert sorted((finding["code"], finding["repaired"], finding["fix"]) for finding in findings) == [
        ("not_migrated", True, Code.NOT_MIGRATED.fix),
        ("state_missing", False, PERSON),
    ]
    assert summary == {
        "items": 6,
        "summary": {"state_missing": {"found": 1, "left": 1}, "not_migrated": {"found": 1, "left": 0}},
    }
    assert SECRET not in "".join(data)
    contents.remove({"pk": {"S": f"MSG#{OTHER}"}, "sk": {"S": TIMES[0]}})
    assert run("doctor", "--json")[:2] == (0, ['{"items": 7, "summary": {}}'])


def test_script_checks_one_conversation(run: Run, configured: None, contents: TableContents) -> None:
    contents.put(*old_conversation(*TIMES), *old_conversation(*TIMES, group=OTHER))
    status, data, _ = run("doctor", "--json", "--group", OTHER.upper())
    assert status == 1
    assert {key["pk"] for key in json.loads(data[0])["keys"]} == {f"GRP#{ANNA.uuid}", f"GRP#{BERT.uuid}"}
    assert json.loads(data[-1]) == {"items": 5, "summary": {"not_migrated": {"found": 1, "left": 1}}}
    nobodys = "99999999-0000-4000-8000-000000000009"
    assert run("doctor", "--group", nobodys) == (1, [], f"There is no conversation {nobodys}\n")
    assert run("doctor", "--group", "x")[0] == 2


def test_script_repairs_no_foreign_table_without_confirmation(
    run: Run, configured: None, contents: TableContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents.put(*old_conversation(*TIMES))
    take_for_foreign(monkeypatch)
    status, data, said = run("doctor", "--fix")
    assert (status, data) == (1, [])
    assert said.startswith("Refused to repair the table: ")
    assert len(contents.items()) == 5
    assert run("doctor")[0] == 1  # to look is no harm
    assert run("doctor", "prod", "--fix", "--yes")[0] == 0


def test_script_shows_its_progress_at_a_terminal(
    run: Run, configured: None, contents: TableContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=terminal, force_terminal=True, width=100))
    contents.put(*old_conversation(*TIMES))
    assert run("doctor", "--fix")[0] == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "Reading users" in shown
    assert re.search(r"Reading items +[^\n]+ 5/", shown)
    assert re.search(r"Checking conversations +[^\n]+ 1/", shown)
