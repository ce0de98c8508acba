"""Migration of conversations of an older backend, which have no state, no pair guard and no numbers."""

from __future__ import annotations

from typing import Any

import pytest

from lib.aws.metering import start_metering
from lib.ddb import migration
from lib.ddb.errors import ConversationNotFound, StoreError
from lib.ddb.items import Item, conversation_key, wire_key
from lib.users.accounts import User
from tests.support.old_data import GROUP, TIMES, old_conversation, old_message, old_row
from tests.support.stores import ANNA, BERT, CARL, NewStore, TableContents, all_pages


def test_inbox_shows_a_conversation_that_is_not_migrated(new_store: NewStore, contents: TableContents) -> None:
    contents.put(*old_conversation(*TIMES))

    [row] = new_store().list_inbox(user_uuid=ANNA.uuid, limit=20).items
    assert (row.group_uuid, row.other, row.seq) == (GROUP, BERT, None)


def test_reading_migrates_and_loses_nothing(new_store: NewStore, contents: TableContents) -> None:
    contents.put(*old_conversation(*TIMES))
    store = new_store()

    with pytest.raises(ConversationNotFound):
        store.list_messages(group_uuid=GROUP, user=CARL, limit=20)
    messages = all_pages(lambda cursor: store.list_messages(group_uuid=GROUP, user=ANNA, limit=2, cursor=cursor))
    assert [(message.text, message.seq) for message in messages] == [("old 2", 3), ("old 1", 2), ("old 0", 1)]
    contents.check(GROUP, ["old 0", "old 1", "old 2"])
    assert contents.inbox(ANNA)[0].read_seq == 3


def test_sending_by_handle_finds_and_migrates_the_old_conversation(
    new_store: NewStore, contents: TableContents
) -> None:
    contents.put(*old_conversation(*TIMES))
    first = new_store().send_to_user(sender=BERT, receiver=ANNA, text="new")
    second = new_store().send_to_user(sender=ANNA, receiver=BERT, text="newer")

    assert (first.group_uuid, second.group_uuid) == (GROUP, GROUP)
    contents.check(GROUP, ["old 0", "old 1", "old 2", "new", "newer"])


def test_migration_leaves_out_items_whose_sort_key_is_no_time(new_store: NewStore, contents: TableContents) -> None:
    timeless = [old_message("March 1", CARL, "when?"), old_row(BERT, "March 1", CARL, "when?")]
    contents.put(*old_conversation(*TIMES), *timeless)
    new_store().send(group_uuid=GROUP, sender=ANNA, text="new")

    assert all(item in contents.items() for item in timeless)
    contents.remove(*map(wire_key, timeless))
    contents.check(GROUP, ["old 0", "old 1", "old 2", "new"])


def test_old_conversation_whose_messages_are_in_the_index_is_migrated(
    new_store: NewStore, contents: TableContents
) -> None:
    contents.put(*({**item, "message_group_uuid": {"S": GROUP}} for item in old_conversation(*TIMES)))
    new_store().send(group_uuid=GROUP, sender=ANNA, text="new")

    contents.check(GROUP, ["old 0", "old 1", "old 2", "new"])


def test_process_searches_an_inbox_without_old_rows_once(new_store: NewStore, client: Any) -> None:
    store = new_store()
    for receiver, requests in ((BERT, 4), (CARL, 3)):  # the guard, both inboxes or the new one's, the transaction
        usage = start_metering()
        store.send_to_user(sender=ANNA, receiver=receiver, text="hello")
        assert usage.requests == requests


def test_scattered_or_double_rows_become_one_row_a_member(new_store: NewStore, contents: TableContents) -> None:
    contents.put(*old_conversation(*TIMES, rows_at=TIMES[0]), old_row(ANNA, TIMES[1], BERT, "a double"))
    new_store().list_messages(group_uuid=GROUP, user=ANNA, limit=20)

    contents.check(GROUP, ["old 0", "old 1", "old 2"])


@pytest.mark.parametrize(
    ("first", "created_at"),
    [
        (TIMES[0], TIMES[0]),
        ("2022-06-21T10:16:00+05:00", "2022-06-21T05:16:00.000000+00:00"),
        ("2022-06-21T10:16:00Z", "2022-06-21T10:16:00.000000+00:00"),
        ("2022-06-21 10:16:00.5", "2022-06-21T10:16:00.500000+00:00"),
    ],
)
def test_created_at_is_the_time_of_the_first_message_in_any_format(
    new_store: NewStore, contents: TableContents, first: str, created_at: str
) -> None:
    contents.put(*old_conversation(first, *TIMES[1:]))
    assert new_store().conversations.get(group_uuid=GROUP, user=ANNA).created_at == created_at


@pytest.mark.parametrize(
    "last",
    [
        "2999-01-01T00:00:00",  # no offset, no microseconds, ahead of every clock
        "2999-01-01T09:00:00+09:00",
        "2999-01-01T00:00:00.5-08:00",
        "2999-01-01T00:00:00.5+08:00",
        "2999-01-01T00:00:00Z",
        "9999-12-30T23:59:59.999999+00:00",
    ],
)
def test_new_message_sorts_after_old_ones_in_any_time_format(
    new_store: NewStore, contents: TableContents, last: str
) -> None:
    contents.put(*old_conversation(*TIMES, last))
    store = new_store()
    store.send(group_uuid=GROUP, sender=ANNA, text="new")
    store.send(group_uuid=GROUP, sender=BERT, text="newer")

    texts = [message.text for message in contents.messages(GROUP)]
    assert texts == ["old 0", "old 1", "old 2", "old 3", "new", "newer"]


def test_second_old_conversation_of_a_pair_stays_readable(new_store: NewStore, contents: TableContents) -> None:
    other = "00000000-55d1-47a0-bc6d-fe2bc2700399"
    contents.put(*old_conversation(*TIMES), *old_conversation("2021-01-01T00:00:00.000000+00:00", group=other))
    store = new_store()
    by_handle = store.send_to_user(sender=ANNA, receiver=BERT, text="new")
    store.send(group_uuid=other, sender=ANNA, text="by uuid")

    assert by_handle.group_uuid == GROUP  # the newer one
    contents.check(GROUP, ["old 0", "old 1", "old 2", "new"])
    contents.check(other, ["old 0", "by uuid"])
    assert new_store().send_to_user(sender=BERT, receiver=ANNA, text="again").group_uuid == GROUP
    # The conversation that gets no messages by handle names the other one, also after later messages.
    assert [contents.conversation(group).pair_group_uuid for group in (GROUP, other)] == [None, GROUP]


def test_conversation_with_a_lost_state_is_migrated_again_and_keeps_its_pair(
    new_store: NewStore, contents: TableContents
) -> None:
    group = new_store().send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    contents.remove(conversation_key(group))
    new_store().send(group_uuid=group, sender=BERT, text="two")

    contents.check(group, ["one", "two"])
    assert contents.conversation(group).pair_group_uuid is None
    assert new_store().send_to_user(sender=ANNA, receiver=BERT, text="three").group_uuid == group


def test_old_conversations_of_one_user_at_one_instant_do_not_overwrite_each_other(
    new_store: NewStore, contents: TableContents
) -> None:
    other = "00000000-55d1-47a0-bc6d-fe2bc2700399"
    contents.put(
        *old_conversation(*TIMES, rows_at=TIMES[0]),
        old_message(TIMES[2], CARL, "from carl", group=other),
        old_row(ANNA, TIMES[2], CARL, "from carl", group=other),
        old_row(CARL, TIMES[2], ANNA, "from carl", group=other),
    )
    store = new_store()
    for group in (GROUP, other):
        store.list_messages(group_uuid=group, user=ANNA, limit=20)

    assert sorted(row.group_uuid for row in contents.inbox(ANNA)) == sorted([GROUP, other])


def test_requesting_user_gets_their_lost_row_back(new_store: NewStore, contents: TableContents) -> None:
    contents.put(old_message(TIMES[0], BERT, "hello"), old_row(ANNA, TIMES[0], BERT, "hello"))
    new_store().list_messages(group_uuid=GROUP, user=ANNA, limit=20)

    assert contents.inbox(BERT)[0].other == ANNA
    contents.check(GROUP, ["hello"])


@pytest.mark.parametrize("sender", [ANNA, BERT])
def test_conversation_with_one_row_is_found_by_handle_from_either_side(
    new_store: NewStore, contents: TableContents, sender: User
) -> None:
    contents.put(old_message(TIMES[0], BERT, "hello"), old_row(BERT, TIMES[0], ANNA, "hello"))
    receiver = ANNA if sender is BERT else BERT
    message = new_store().send_to_user(sender=sender, receiver=receiver, text="again")

    assert message.group_uuid == GROUP
    contents.check(GROUP, ["hello", "again"])


@pytest.mark.parametrize("indexed", [[], [old_row(ANNA, TIMES[0], BERT, "older")]], ids=["one row", "an older row"])
def test_lagging_index_leaves_no_row_behind(
    new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch, indexed: list[Item]
) -> None:
    items = old_conversation(*TIMES)
    contents.put(*items)
    monkeypatch.setattr(migration, "indexed", lambda table, group_uuid: iter(indexed or items[-1:]))
    new_store().send(group_uuid=GROUP, sender=ANNA, text="new")

    contents.check(GROUP, ["old 0", "old 1", "old 2", "new"])


def test_conversation_without_messages_is_migrated_empty(new_store: NewStore, contents: TableContents) -> None:
    contents.put(*old_conversation(*TIMES)[-2:])
    store = new_store()

    assert store.list_messages(group_uuid=GROUP, user=ANNA, limit=20).items == []
    store.send(group_uuid=GROUP, sender=ANNA, text="first")
    contents.check(GROUP, ["first"])


def test_long_conversation_is_numbered_over_several_transactions(new_store: NewStore, contents: TableContents) -> None:
    times = [f"2023-01-01T00:00:00.{number:06}+00:00" for number in range(230)]
    contents.put(*old_conversation(*times))
    new_store().send(group_uuid=GROUP, sender=ANNA, text="new")

    contents.check(GROUP, [*(f"old {number}" for number in range(230)), "new"])


def test_next_request_finishes_an_interrupted_migration(
    new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [f"2023-01-01T00:00:00.{number:06}+00:00" for number in range(120)]
    contents.put(*old_conversation(*times))
    broken = new_store()
    transact, transactions = broken._table.transact, []

    def break_at_second(writes: Any) -> None:
        transactions.append(writes)
        if len(transactions) == 2:
            raise StoreError("the process ends here")
        transact(writes)

    monkeypatch.setattr(broken._table, "transact", break_at_second)
    with pytest.raises(StoreError):
        broken.send(group_uuid=GROUP, sender=ANNA, text="lost with the process")
    new_store().send(group_uuid=GROUP, sender=ANNA, text="new")

    contents.check(GROUP, [*(f"old {number}" for number in range(120)), "new"])


def test_simultaneous_migrations_give_the_same_conversation(
    new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents.put(*old_conversation(*TIMES))
    late = new_store()
    transact = late._table.transact

    def after_the_other(writes: Any) -> None:
        monkeypatch.setattr(late._table, "transact", transact)
        new_store().send(group_uuid=GROUP, sender=BERT, text="faster")
        transact(writes)

    monkeypatch.setattr(late._table, "transact", after_the_other)
    late.send(group_uuid=GROUP, sender=ANNA, text="later")

    contents.check(GROUP, ["old 0", "old 1", "old 2", "faster", "later"])
