"""The function on the stream of an older backend's conversations, which others adopt at the same time."""

from __future__ import annotations

from typing import Any

import pytest

from lib.ddb.items import Item
from lib.users.directory import User
from tests.support import streamed
from tests.support.old_data import GROUP, old_conversation, old_message
from tests.support.stores import ANNA, BERT, TableContents, stores_on
from tests.support.streamed import Handler, event, streamed_stores_on

handle = streamed.handle


@pytest.fixture
def contents(dynamodb_client: Any, table: str) -> TableContents:
    return TableContents(dynamodb_client, table)


def test_new_message_in_an_old_conversation_is_unread_and_its_history_is_read(
    handle: Handler, contents: TableContents
) -> None:
    contents.put(*old_conversation("2023-01-01T00:00:00.000000+00:00", "2023-01-02T00:00:00.000000+00:00"))
    new = old_message("2023-01-03T00:00:00.000000+00:00", ANNA, "new")
    contents.put(new)

    assert handle(event(new)) == {"batchItemFailures": []}
    assert [(row.seq, row.unread_count) for row in contents.inbox(ANNA) + contents.inbox(BERT)] == [(3, 0), (3, 1)]
    contents.check(GROUP, ["old 0", "old 1", "new"])


def test_what_has_not_the_shape_of_a_message_does_not_keep_an_old_conversation_from_being_adopted(
    handle: Handler, contents: TableContents
) -> None:
    new = old_message("2023-01-03T00:00:00.000000+00:00", ANNA, "new")
    poison = {"pk": new["pk"], "sk": {"S": "2023-01-02T00:00:00.000000+00:00"}}
    contents.put(*old_conversation("2023-01-01T00:00:00.000000+00:00"), poison, new)

    assert handle(event(new)) == {"batchItemFailures": []}
    assert [(row.text, row.seq) for row in contents.inbox(BERT)] == [("new", 2)]


@pytest.mark.parametrize("reading", [ANNA, BERT])
def test_function_and_reader_that_adopt_at_once_count_each_message_once(
    handle: Handler,
    dynamodb_client: Any,
    table: str,
    contents: TableContents,
    monkeypatch: pytest.MonkeyPatch,
    reading: User,
) -> None:
    new = [old_message(f"2023-01-0{day}T00:00:00.000000+00:00", ANNA, f"new {day}") for day in (2, 3)]
    contents.put(*old_conversation("2023-01-01T00:00:00.000000+00:00"), *new)
    reader, answers = stores_on(dynamodb_client, table)(), []
    transact = reader._table.transact

    def before_the_function(writes: Any) -> None:
        transact(writes)  # the reader's numbers, also those of the new messages
        monkeypatch.setattr(reader._table, "transact", transact)
        answers.append(handle(event(new[0])))

    monkeypatch.setattr(reader._table, "transact", before_the_function)
    reader.send(group_uuid=GROUP, sender=reading, text="inline")
    answers.append(handle(event(new[1])))

    assert answers == [{"batchItemFailures": []}] * 2
    contents.check(GROUP, ["old 0", "new 2", "new 3", "inline"])
    assert contents.inbox(BERT)[0].unread_count == (3 if reading is ANNA else 0)


def test_adoption_that_is_late_leaves_what_was_sent_since_to_the_function(
    handle: Handler, dynamodb_client: Any, table: str, contents: TableContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents.put(*old_conversation("2023-01-01T00:00:00.000000+00:00"))
    slow, fast = (streamed_stores_on(dynamodb_client, table)() for _ in range(2))
    query_all, since = slow._table.all, list[Item]()

    def after_the_others(**arguments: Any) -> Any:
        if {"S": f"MSG#{GROUP}"} in arguments["ExpressionAttributeValues"].values():
            since.extend(fast.send(group_uuid=GROUP, sender=BERT, text=text).to_item() for text in ("late", "newer"))
            stores_on(dynamodb_client, table)().send(group_uuid=GROUP, sender=ANNA, text="inline")
        return query_all(**arguments)

    monkeypatch.setattr(slow._table, "all", after_the_others)
    slow.list_messages(group_uuid=GROUP, user=ANNA, limit=20)

    assert handle(event(*since)) == {"batchItemFailures": []}
    assert [(message.text, message.seq) for message in contents.messages(GROUP)] == [
        ("old 0", 1),
        ("late", 3),
        ("newer", 4),
        ("inline", 2),
    ]
