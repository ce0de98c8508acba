"""The function on the table's stream: new and old conversations, failures, and other processes at the same time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lib.ddb.items import Item, Message
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.store import StreamedMessageStore
from lib.ddb.table import Table
from lib.users.accounts import User
from tests.support import streamed
from tests.support.clocks import eventually
from tests.support.old_data import GROUP, old_conversation, old_message, old_row
from tests.support.relays import heard
from tests.support.roles import as_role, deploy_schema
from tests.support.stores import ANNA, BERT, CARL, TableContents, stores_on
from tests.support.streamed import Handler, event, failures, numbers, record, streamed_stores_on

handle, store = streamed.handle, streamed.store


def sent(store: StreamedMessageStore, group: str, sender: User, *texts: str) -> list[Item]:
    """Send messages in stream mode; their items as the stream shows them."""
    return [store.send(group_uuid=group, sender=sender, text=text).to_item() for text in texts]


def test_messages_of_several_conversations_are_numbered_in_one_transaction_each(
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


def test_more_messages_than_a_transaction_holds_are_all_numbered(
    handle: Handler, store: StreamedMessageStore, contents: TableContents
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="0").group_uuid
    items = sent(store, group, BERT, *map(str, range(1, 200)))

    assert handle(event(*items)) == {"batchItemFailures": []}
    contents.check(group, map(str, range(200)))


def test_records_of_other_changes_change_nothing(
    handle: Handler, dynamodb_client: Any, table: str, store: StreamedMessageStore, contents: TableContents
) -> None:
    inline = stores_on(dynamodb_client, table)()
    group = inline.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    numbered = contents.items()
    [waiting] = sent(store, group, BERT, "two")
    before = contents.items()

    changes = [record(item) for item in numbered]  # a message with its number, and all other kinds of items
    changes += [record(waiting, "MODIFY"), record(waiting, "REMOVE")]
    assert handle({"Records": changes}) == {"batchItemFailures": []}
    assert contents.items() == before


@pytest.mark.parametrize("value", [None, "text", 5, [], {}, {"pk": {"S": 5}, "sk": None}])
@pytest.mark.parametrize("name", ["eventName", "Keys", "NewImage"])
def test_malformed_record_is_delivered_again_by_itself(
    handle: Handler, store: StreamedMessageStore, contents: TableContents, name: str, value: object
) -> None:
    to_bert = store.send_to_user(sender=ANNA, receiver=BERT, text="b1").group_uuid
    to_carl = store.send_to_user(sender=ANNA, receiver=CARL, text="c1").group_uuid
    malformed, good = (record(item) for group in (to_bert, to_carl) for item in sent(store, group, ANNA, "new"))
    malformed["dynamodb"][name] = malformed[name] = value

    assert failures(handle({"Records": [malformed, good]})) == numbers([malformed])
    contents.check(to_carl, ["c1", "new"])
    del malformed["dynamodb"][name], malformed[name]
    assert failures(handle({"Records": [malformed, good]})) == numbers([malformed])


@pytest.mark.parametrize("malformed", [None, {}, {"dynamodb": None}, {"dynamodb": {"SequenceNumber": 5}}])
def test_batch_with_a_record_without_a_sequence_number_changes_nothing(
    handle: Handler, store: StreamedMessageStore, contents: TableContents, malformed: object
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    [item] = sent(store, group, BERT, "two")
    before = contents.items()

    with pytest.raises(ValueError, match="no sequence number"):
        handle({"Records": [record(item), malformed]})
    assert contents.items() == before


def test_failed_record_holds_back_its_conversation_and_no_other(
    handle: Handler, store: StreamedMessageStore, contents: TableContents, capsys: pytest.CaptureFixture[str]
) -> None:
    to_bert = store.send_to_user(sender=ANNA, receiver=BERT, text="b1").group_uuid
    to_carl = store.send_to_user(sender=ANNA, receiver=CARL, text="c1").group_uuid
    b, c = sent(store, to_bert, BERT, "secret 2", "secret 3"), sent(store, to_carl, ANNA, "c2")
    malformed = {name: value for name, value in b[0].items() if name != "message"}
    records = [record(item) for item in (b[0], malformed, c[0], b[1])]

    assert failures(handle({"Records": records})) == numbers([records[1], records[3]])
    assert [message.seq for message in contents.messages(to_bert)] == [1, 2, None]
    contents.check(to_carl, ["c1", "c2"])
    assert failures(handle({"Records": [records[3]]})) == []
    contents.check(to_bert, ["b1", "secret 2", "secret 3"])
    assert "secret" not in capsys.readouterr().out


def test_malformed_item_does_not_block_the_messages_behind_it(
    handle: Handler, store: StreamedMessageStore, contents: TableContents
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    contents.put({"pk": {"S": f"MSG#{group}"}, "sk": {"S": "2026-01-01T00:00:00.000000+00:00"}})
    contents.put(old_message("no time at all", ANNA, "x", group=group))
    [item] = sent(store, group, BERT, "two")

    assert handle(event(item)) == {"batchItemFailures": []}
    assert [row.text for row in contents.inbox(ANNA)] == ["two"]
    assert contents.conversation(group).seq == 2


def test_message_of_no_member_is_delivered_again_with_the_records_behind_it(
    handle: Handler, store: StreamedMessageStore, contents: TableContents
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    stranger = Message(group, "2099-01-01T00:00:00.000000+00:00", "a uuid", "hello", CARL, seq=None).to_item()
    orphan = old_message("2099-01-01T00:00:00.000000+00:00", ANNA, "hello")
    contents.put(stranger, orphan)
    unchanged = contents.items()
    before, behind = sent(store, group, BERT, "two", "three")
    first, *others = [record(item) for item in (before, stranger, behind, orphan)]

    assert failures(handle({"Records": others})) == numbers(others)
    assert [item for item in contents.items() if item not in (before, behind)] == unchanged
    assert failures(handle({"Records": [first, *others]})) == numbers(others)
    assert [row.text for row in contents.inbox(ANNA)] == ["two"]
    assert failures(handle({"Records": [others[1]]})) == []
    assert [row.text for row in contents.inbox(ANNA)] == ["three"]


def test_late_message_is_numbered_and_moves_no_row(
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
    state = contents.conversation(group)
    assert state.last_message_at == contents.messages(group)[-1].created_at
    assert [state.members[user.uuid].last_seq for user in (ANNA, BERT)] == [2, None]


def test_late_message_leaves_the_row_that_another_conversation_has_in_the_place(
    handle: Handler, dynamodb_client: Any, table: str, store: StreamedMessageStore, contents: TableContents
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    [late] = sent(store, group, BERT, "late")
    inline = stores_on(dynamodb_client, table)().send(group_uuid=group, sender=ANNA, text="inline")
    other_row = old_row(ANNA, inline.created_at, CARL, "of another conversation")
    contents.put(other_row)

    assert handle(event(late)) == {"batchItemFailures": []}
    assert other_row in contents.items()
    assert [row.text for row in contents.inbox(ANNA)] == ["of another conversation", "inline"]
    assert [message.seq for message in contents.messages(group)] == [1, 3, 2]


def test_inline_send_during_an_update_repeats_the_update(
    dynamodb_client: Any,
    table: str,
    store: StreamedMessageStore,
    contents: TableContents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    two, updates = store.send(group_uuid=group, sender=BERT, text="two"), SequenceNumbers(Table(dynamodb_client, table))
    transact = updates._table.transact

    def send_first(writes: Any) -> None:
        monkeypatch.setattr(updates._table, "transact", transact)
        stores_on(dynamodb_client, table)().send(group_uuid=group, sender=ANNA, text="inline")
        transact(writes)

    monkeypatch.setattr(updates._table, "transact", send_first)
    assert updates.update(group, [two]) == 1
    assert [message.seq for message in contents.messages(group)] == [1, 3, 2]


def test_logs_hold_ids_and_no_text(
    handle: Handler, store: StreamedMessageStore, capsys: pytest.CaptureFixture[str]
) -> None:
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    handle(event(*sent(store, group, BERT, "a secret")))

    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    del line["time"]
    assert line == {"level": "info", "event": "group_updated", "group_uuid": group, "messages": 1, "numbered": 1}


# The streams of the API


def test_function_wakes_the_streams_of_updated_conversations(
    handle: Handler, store: StreamedMessageStore, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    deploy_schema(url)
    monkeypatch.setenv("DATABASE_URL", as_role(url, "cruddur_message_stream"))
    hints = heard(url)
    to_bert = store.send_to_user(sender=ANNA, receiver=BERT, text="b1").group_uuid
    to_carl = store.send_to_user(sender=ANNA, receiver=CARL, text="c1").group_uuid
    items = [*sent(store, to_bert, BERT, "b2", "b3"), *sent(store, to_carl, ANNA, "c2")]

    assert handle(event(*items)) == {"batchItemFailures": []}
    assert eventually(lambda: len(hints) == 2)
    assert {hint.event for hint in hints} == {"message_group"}
    assert {frozenset(hint.user_uuids) for hint in hints} == {
        frozenset({ANNA.uuid, BERT.uuid}),
        frozenset({ANNA.uuid, CARL.uuid}),
    }
    assert handle(event(*items)) == {"batchItemFailures": []}
    assert len(hints) == 2


@pytest.mark.parametrize(
    "variables",
    [
        {"DATABASE_URL": "postgresql://127.0.0.1:9/nowhere"},
        {"DATABASE_URL": "no URL"},
        {"DATABASE_URL": "postgresql+iam://nobody@127.0.0.1:9/nowhere"},
    ],
)
def test_update_stands_if_the_streams_cannot_be_woken(
    handle: Handler,
    store: StreamedMessageStore,
    contents: TableContents,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid

    assert handle(event(*sent(store, group, BERT, "two"))) == {"batchItemFailures": []}
    contents.check(group, ["one", "two"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "streams_not_woken"


# Conversations of an older backend


def test_new_message_in_an_old_conversation_is_unread_and_its_history_is_read(
    handle: Handler, contents: TableContents
) -> None:
    contents.put(*old_conversation("2023-01-01T00:00:00.000000+00:00", "2023-01-02T00:00:00.000000+00:00"))
    new = old_message("2023-01-03T00:00:00.000000+00:00", ANNA, "new")
    contents.put(new)

    assert handle(event(new)) == {"batchItemFailures": []}
    assert [(row.seq, row.unread_count) for row in contents.inbox(ANNA) + contents.inbox(BERT)] == [(3, 0), (3, 1)]
    contents.check(GROUP, ["old 0", "old 1", "new"])


def test_malformed_item_does_not_prevent_a_migration(handle: Handler, contents: TableContents) -> None:
    new = old_message("2023-01-03T00:00:00.000000+00:00", ANNA, "new")
    malformed = {"pk": new["pk"], "sk": {"S": "2023-01-02T00:00:00.000000+00:00"}}
    contents.put(*old_conversation("2023-01-01T00:00:00.000000+00:00"), malformed, new)

    assert handle(event(new)) == {"batchItemFailures": []}
    assert [(row.text, row.seq) for row in contents.inbox(BERT)] == [("new", 2)]


@pytest.mark.parametrize("sender", [ANNA, BERT])
def test_simultaneous_migrations_number_each_message_once(
    handle: Handler,
    dynamodb_client: Any,
    table: str,
    contents: TableContents,
    monkeypatch: pytest.MonkeyPatch,
    sender: User,
) -> None:
    new = [old_message(f"2023-01-0{day}T00:00:00.000000+00:00", ANNA, f"new {day}") for day in (2, 3)]
    contents.put(*old_conversation("2023-01-01T00:00:00.000000+00:00"), *new)
    inline, responses = stores_on(dynamodb_client, table)(), []
    transact = inline._table.transact

    def before_the_function(writes: Any) -> None:
        transact(writes)  # the migration numbers the new messages, too
        monkeypatch.setattr(inline._table, "transact", transact)
        responses.append(handle(event(new[0])))

    monkeypatch.setattr(inline._table, "transact", before_the_function)
    inline.send(group_uuid=GROUP, sender=sender, text="inline")
    responses.append(handle(event(new[1])))

    assert responses == [{"batchItemFailures": []}] * 2
    contents.check(GROUP, ["old 0", "new 2", "new 3", "inline"])
    assert contents.inbox(BERT)[0].unread_count == (3 if sender is ANNA else 0)


def test_late_migration_leaves_newer_messages_to_the_function(
    handle: Handler, dynamodb_client: Any, table: str, contents: TableContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents.put(*old_conversation("2023-01-01T00:00:00.000000+00:00"))
    slow, fast = (streamed_stores_on(dynamodb_client, table)() for _ in range(2))
    query_all, new = slow._table.all, list[Item]()

    def delay(**arguments: Any) -> Any:
        if {"S": f"MSG#{GROUP}"} in arguments["ExpressionAttributeValues"].values():
            new.extend(fast.send(group_uuid=GROUP, sender=BERT, text=text).to_item() for text in ("late", "newer"))
            stores_on(dynamodb_client, table)().send(group_uuid=GROUP, sender=ANNA, text="inline")
        return query_all(**arguments)

    monkeypatch.setattr(slow._table, "all", delay)
    slow.list_messages(group_uuid=GROUP, user=ANNA, limit=20)

    assert handle(event(*new)) == {"batchItemFailures": []}
    assert [(message.text, message.seq) for message in contents.messages(GROUP)] == [
        ("old 0", 1),
        ("late", 3),
        ("newer", 4),
        ("inline", 2),
    ]
