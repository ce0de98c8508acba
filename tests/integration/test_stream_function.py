"""The function on the table's stream: what it does with a batch, and what it leaves when everything goes wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lib.ddb.items import InboxRow, Item, Message
from lib.ddb.store import StreamedMessageStore
from lib.users.directory import User
from tests.support import streamed
from tests.support.old_data import old_message, old_row
from tests.support.stores import ANNA, BERT, CARL, TableContents, stores_on
from tests.support.streamed import Handler, event, failures, numbers, record, streamed_stores_on

GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
AUGUSTSZ = User("76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "Augustsz", "Augustsz")
OTHER = User("3f0c5b8e-92d1-4c47-9a6e-b1d8f7240c35", "bayko", "Bayko")

# The event of the notes, as Lambda delivers it.
EVENT_OF_THE_NOTES: dict[str, Any] = {
    "Records": [
        {
            "eventID": "8740280b9d5e3e3ec4b8ee07a4e4e9b0",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-2",
            "dynamodb": {
                "ApproximateCreationDateTime": 1687774560.0,
                "Keys": {
                    "pk": {"S": f"MSG#{GROUP}"},
                    "sk": {"S": "2023-06-26T10:16:00.375877+00:00"},
                },
                "NewImage": {
                    "user_uuid": {"S": AUGUSTSZ.uuid},
                    "user_handle": {"S": "Augustsz"},
                    "sk": {"S": "2023-06-26T10:16:00.375877+00:00"},
                    "pk": {"S": f"MSG#{GROUP}"},
                    "message_uuid": {"S": "5ebf5021-1881-4e1c-8c10-93173ba1a87a"},
                    "message": {"S": "opa"},
                    "user_display_name": {"S": "Augustsz"},
                },
                "SequenceNumber": "8740280000000000011223344",
                "SizeBytes": 399,
                "StreamViewType": "NEW_IMAGE",
            },
            "eventSourceARN": "arn:aws:dynamodb:us-east-2:000000000000:table/cruddur-messages/stream/2023-06-26",
        }
    ]
}

handle = streamed.handle


@pytest.fixture
def contents(dynamodb_client: Any, table: str) -> TableContents:
    return TableContents(dynamodb_client, table)


@pytest.fixture
def store(dynamodb_client: Any, table: str) -> StreamedMessageStore:
    return streamed_stores_on(dynamodb_client, table)()


def sent(store: StreamedMessageStore, group: str, sender: User, *texts: str) -> list[Item]:
    """Messages written alone, as the stream shows them."""
    return [store.send(group_uuid=group, sender=sender, text=text).to_item() for text in texts]


def test_the_event_of_the_notes_moves_both_rows_of_an_old_table(handle: Handler, contents: TableContents) -> None:
    at = "2023-06-25T08:00:00.000000+00:00"
    contents.put(
        old_row(AUGUSTSZ, at, OTHER, "this is a filler message", group=GROUP),
        old_row(OTHER, at, AUGUSTSZ, "this is a filler message", group=GROUP),
        EVENT_OF_THE_NOTES["Records"][0]["dynamodb"]["NewImage"],
    )

    assert handle(EVENT_OF_THE_NOTES) == {"batchItemFailures": []}
    [mine], [others] = contents.inbox(AUGUSTSZ), contents.inbox(OTHER)
    sk = "2023-06-26T10:16:00.375877+00:00"
    assert mine == InboxRow(AUGUSTSZ.uuid, sk, GROUP, "opa", OTHER, seq=1, read_seq=1, sender_uuid=AUGUSTSZ.uuid)
    assert others == InboxRow(OTHER.uuid, sk, GROUP, "opa", AUGUSTSZ, seq=1, read_seq=0, sender_uuid=AUGUSTSZ.uuid)
    contents.check(GROUP, ["opa"])


def test_messages_of_several_conversations_are_counted_in_one_transaction_each(
    handle: Handler, store: StreamedMessageStore, contents: TableContents
) -> None:
    to_bert = store.send_to_user(sender=ANNA, receiver=BERT, text="b1").group_uuid
    to_carl = store.send_to_user(sender=ANNA, receiver=CARL, text="c1").group_uuid
    b, c = sent(store, to_bert, BERT, "b2", "b3"), sent(store, to_carl, ANNA, "c2")
    assert [message.seq for message in contents.messages(to_bert)] == [1, None, None]

    assert handle(event(b[0], c[0], b[1])) == {"batchItemFailures": []}
    contents.check(to_bert, ["b1", "b2", "b3"])
    contents.check(to_carl, ["c1", "c2"])
    state = contents.conversation(to_bert)
    assert (state.seq, state.version) == (3, 3)
    assert (state.members[ANNA.uuid].read_seq, state.members[BERT.uuid].read_seq) == (1, 3)


def test_more_messages_than_a_transaction_holds_are_all_counted(
    handle: Handler, store: StreamedMessageStore, contents: TableContents
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="0").group_uuid
    items = sent(store, group, BERT, *map(str, range(1, 200)))

    assert handle(event(*items)) == {"batchItemFailures": []}
    contents.check(group, map(str, range(200)))


def test_only_new_messages_change_anything(
    handle: Handler, dynamodb_client: Any, table: str, store: StreamedMessageStore, contents: TableContents
) -> None:
    inline = stores_on(dynamodb_client, table)()
    group = inline.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    done = contents.items()
    [waiting] = sent(store, group, BERT, "two")
    before = contents.items()

    changes = [record(item) for item in done]  # a message with its number, and all other kinds of items
    changes += [record(waiting, "MODIFY"), record(waiting, "REMOVE")]
    assert handle({"Records": changes}) == {"batchItemFailures": []}
    assert contents.items() == before


def test_unknown_event_is_an_error_and_changes_nothing(
    handle: Handler, store: StreamedMessageStore, contents: TableContents
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    [item] = sent(store, group, BERT, "two")
    before = contents.items()

    with pytest.raises(ValueError, match="UPSERT"):
        handle({"Records": [record(item), record(item, "UPSERT")]})
    assert contents.items() == before


def test_failed_record_holds_back_its_conversation_and_no_other(
    handle: Handler, store: StreamedMessageStore, contents: TableContents, capsys: pytest.CaptureFixture[str]
) -> None:
    to_bert = store.send_to_user(sender=ANNA, receiver=BERT, text="b1").group_uuid
    to_carl = store.send_to_user(sender=ANNA, receiver=CARL, text="c1").group_uuid
    b, c = sent(store, to_bert, BERT, "said 2", "said 3"), sent(store, to_carl, ANNA, "c2")
    poison = {name: value for name, value in b[0].items() if name != "message"}
    records = [record(item) for item in (b[0], poison, c[0], b[1])]

    assert failures(handle({"Records": records})) == numbers([records[1], records[3]])
    assert [message.seq for message in contents.messages(to_bert)] == [1, 2, None]
    contents.check(to_carl, ["c1", "c2"])
    # Once the poison is out of the way, the others follow.
    assert failures(handle({"Records": [records[3]]})) == []
    contents.check(to_bert, ["b1", "said 2", "said 3"])
    assert "said" not in capsys.readouterr().out


def test_what_has_not_the_shape_of_a_message_does_not_block_those_behind_it(
    handle: Handler, store: StreamedMessageStore, contents: TableContents
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    contents.put({"pk": {"S": f"MSG#{group}"}, "sk": {"S": "2026-01-01T00:00:00.000000+00:00"}})
    contents.put(old_message("no time at all", ANNA, "x", group=group))
    [item] = sent(store, group, BERT, "two")

    assert handle(event(item)) == {"batchItemFailures": []}
    assert [row.text for row in contents.inbox(ANNA)] == ["two"]
    assert contents.conversation(group).seq == 2


def test_message_of_a_stranger_or_of_no_conversation_is_delivered_again(
    handle: Handler, store: StreamedMessageStore, contents: TableContents
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    stranger = Message(group, "2099-01-01T00:00:00.000000+00:00", "a uuid", "hello", CARL, seq=None).to_item()
    orphan = old_message("2099-01-01T00:00:00.000000+00:00", ANNA, "hello")
    contents.put(stranger, orphan)
    before = contents.items()

    records = [record(stranger), record(orphan)]
    assert failures(handle({"Records": records})) == numbers(records)
    assert contents.items() == before


def test_strangers_message_holds_back_those_behind_it_and_none_before_it(
    handle: Handler, store: StreamedMessageStore, contents: TableContents
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    stranger = Message(group, "2099-01-01T00:00:00.000000+00:00", "a uuid", "hello", CARL, seq=None).to_item()
    contents.put(stranger)
    before, behind = sent(store, group, BERT, "two", "three")
    records = [record(item) for item in (before, stranger, behind)]

    assert failures(handle({"Records": records})) == numbers(records[1:])
    assert [row.text for row in contents.inbox(ANNA)] == ["two"]
    assert failures(handle({"Records": records[2:]})) == []
    assert [row.text for row in contents.inbox(ANNA)] == ["three"]


def test_late_message_is_counted_and_moves_no_row(
    handle: Handler, dynamodb_client: Any, table: str, store: StreamedMessageStore, contents: TableContents
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    [late] = sent(store, group, BERT, "late")
    stores_on(dynamodb_client, table)().send(group_uuid=group, sender=ANNA, text="inline")  # it knew of one message

    assert handle(event(late)) == {"batchItemFailures": []}
    assert [(message.text, message.seq) for message in contents.messages(group)] == [
        ("one", 1),
        ("late", 3),
        ("inline", 2),
    ]
    for user, unread in ((ANNA, 1), (BERT, 3)):
        [row] = contents.inbox(user)
        assert (row.text, row.seq, row.unread_count) == ("inline", 3, unread)
    assert contents.conversation(group).last_message_at == contents.messages(group)[-1].created_at


def test_logs_hold_ids_and_no_text(
    handle: Handler, store: StreamedMessageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    handle(event(*sent(store, group, BERT, "a secret")))

    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    del line["time"]
    assert line == {"level": "info", "event": "group_updated", "group_uuid": group, "messages": 1, "numbered": 1}
