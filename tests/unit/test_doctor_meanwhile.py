"""The doctor on a table that other processes write to between its reads."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from itertools import count
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.corruptions import corruptions
from tests.support.doctor_fixtures import before, run_doctor, sound_table
from tests.support.old_data import GROUP, TIMES, old_conversation, old_row
from tests.support.stores import ANNA, BERT, CARL, NewStore, TableContents, positions_of
from tests.unit.conftest import TABLE
from tools.cli import tables
from tools.doctor import reading, survey
from tools.doctor.findings import Code


def writer(new_store: NewStore, group: str) -> Callable[[], None]:
    """Sends another message at each call, but not during its own requests."""
    store, numbers, sending = new_store(), count(), Lock()

    def write() -> None:
        if sending.acquire(blocking=False):
            try:
                store.send(group_uuid=group, sender=ANNA, text=f"meanwhile {next(numbers)}")
            finally:
                sending.release()

    return write


@pytest.mark.parametrize("operation", ["Scan", "GetItem", "Query", "TransactGetItems"])
def test_sound_table_gives_no_finding_while_messages_are_sent(operation: str, new_store: NewStore, client: Any) -> None:
    group = sound_table(new_store)
    with before(client, operation, writer(new_store, group)):
        assert run_doctor(client, TABLE).codes == []
        assert run_doctor(client, TABLE, group=group).codes == []
        assert run_doctor(client, TABLE, fix=True).codes == []


def test_surplus_rows_of_a_busy_conversation_are_removed(
    new_store: NewStore, contents: TableContents, client: Any
) -> None:
    group = sound_table(new_store)
    for owner in (ANNA, CARL):
        contents.put(old_row(owner, TIMES[0], BERT, "left behind", group=group))
    write = writer(new_store, group)
    with before(client, "TransactGetItems", write), before(client, "TransactWriteItems", write):
        report = run_doctor(client, TABLE, fix=True)
    assert (report.codes, report.left) == ([Code.ROW_WITHOUT_NUMBERS], [])
    assert len(report.findings[0][0].keys) == 2
    assert run_doctor(client, TABLE).codes == []


@pytest.mark.parametrize(
    "name", ["a state that counts wrong", "a row with another text", "a row of a non-member", "a row left ahead"]
)
def test_repair_keeps_a_message_that_is_sent_meanwhile(
    name: str, new_store: NewStore, contents: TableContents, client: Any
) -> None:
    group = sound_table(new_store)
    corruptions[name].corrupt(contents, group)
    sends = iter([writer(new_store, group)])
    with before(client, "TransactWriteItems", lambda: next(sends, lambda: None)()):
        assert run_doctor(client, TABLE, fix=True).left == []
    contents.check(group, ["one", "two", "three", "four", "five", "meanwhile 0"])
    assert run_doctor(client, TABLE).codes == []


def test_repair_keeps_a_new_read_position(new_store: NewStore, contents: TableContents, client: Any) -> None:
    group = sound_table(new_store)
    corruptions["a position past the end"].corrupt(contents, group)
    positions = positions_of(new_store())
    marks = iter([lambda: positions.mark_read(group_uuid=group, user=ANNA, seq=5)])
    with before(client, "TransactWriteItems", lambda: next(marks, lambda: None)() and None):
        assert run_doctor(client, TABLE, fix=True).left == []
    assert contents.conversation(group).members[ANNA.uuid].read_seq == 5
    assert run_doctor(client, TABLE).codes == []


def test_conversation_gives_no_finding_if_the_api_migrates_it_meanwhile(
    new_store: NewStore, contents: TableContents, client: Any
) -> None:
    contents.put(*old_conversation(*TIMES))
    with before(client, "TransactGetItems", writer(new_store, GROUP)):
        assert run_doctor(client, TABLE).codes == []


def test_read_is_repeated_after_a_conflict(new_store: NewStore, contents: TableContents, client: Any) -> None:
    sound_table(new_store)
    contents.put(*old_conversation(*TIMES))
    error = {"Error": {"Code": "TransactionCanceledException", "Message": "made up"}}
    conflicts = iter([(SimpleNamespace(status_code=HTTPStatus.BAD_REQUEST), error)] * 3)
    with before(client, "TransactGetItems", lambda: next(conflicts, None)):
        assert run_doctor(client, TABLE).codes == [Code.NOT_MIGRATED]


@pytest.mark.parametrize("size", [1, 4])
def test_small_pages_give_the_same_findings(
    size: int, new_store: NewStore, contents: TableContents, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_ITEMS_PER_PAGE", size)
    monkeypatch.setattr(reading, "_USERS_PER_PAGE", size)
    monkeypatch.setattr(survey, "_ITEMS_PER_PAGE", size)
    group = sound_table(new_store)
    assert run_doctor(client, TABLE).codes == []
    contents.put(*old_conversation(*TIMES))
    corruptions["a Cognito id in a list"].corrupt(contents, group)
    assert run_doctor(client, TABLE).codes == [Code.NOT_MIGRATED, Code.PRIVATE_DATA]
