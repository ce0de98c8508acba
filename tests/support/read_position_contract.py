"""The contract of read positions. A subclass runs it on each engine and in each mode."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lib.clock import from_timestamp, tick_after, to_timestamp
from lib.ddb.items import Conversation, Message
from lib.ddb.store import MessageStore
from lib.ddb.table import Table
from lib.users.accounts import User
from tests.support.old_data import GROUP, TIMES, old_conversation, old_row
from tests.support.stores import ANNA, BERT, CARL, NewStore, TableContents, positions_of


def write(store: MessageStore, *senders: User) -> str:
    """Write a message of each sender to the conversation of Anna and Bert; return its uuid."""
    others = {ANNA: BERT, BERT: ANNA}
    for sender in senders:
        message = store.send_to_user(sender=sender, receiver=others[sender], text=f"by {sender.handle}")
    return message.group_uuid


class ReadPositionContract:
    """The subclass's module has the fixtures `new_store` and `contents`."""

    def test_mark_moves_the_position_in_state_and_row(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        group = write(store, ANNA, ANNA, ANNA)
        before = contents.inbox(BERT)[0]
        state = positions_of(store).mark_read(group_uuid=group, user=BERT, seq=2)

        assert read_seqs(state) == read_seqs(contents.conversation(group)) == {ANNA.uuid: 3, BERT.uuid: 2}
        [row] = contents.inbox(BERT)
        assert (row.read_seq, row.unread_count) == (2, 1)
        assert (row.last_message_at, row.text, row.seq) == (before.last_message_at, before.text, 3)
        contents.check(group, ["by anna"] * 3)

    @pytest.mark.parametrize(("marks", "read_seq"), [((3, 1), 3), ((2, 2), 2), ((99,), 3), ((0,), 0), ((10**40,), 3)])
    def test_position_goes_neither_back_nor_past_the_last_message(
        self, new_store: NewStore, contents: TableContents, marks: tuple[int, ...], read_seq: int
    ) -> None:
        store = new_store()
        group = write(store, ANNA, ANNA, ANNA)
        for seq in marks:
            state = positions_of(store).mark_read(group_uuid=group, user=BERT, seq=seq)

        assert state.members[BERT.uuid].read_seq == contents.inbox(BERT)[0].read_seq == read_seq

    def test_mark_without_a_change_writes_nothing(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        group = write(store, ANNA, BERT)
        before = contents.items()
        positions_of(store).mark_read(group_uuid=group, user=BERT, seq=2)

        assert contents.items() == before

    def test_mark_reaches_messages_of_another_process(self, new_store: NewStore, contents: TableContents) -> None:
        store, other_store = new_store(), new_store()
        group = write(store, ANNA)
        positions_of(store).mark_read(group_uuid=group, user=BERT, seq=1)
        for _ in range(3):
            other_store.send(group_uuid=group, sender=ANNA, text="by anna")
        state = positions_of(store).mark_read(group_uuid=group, user=BERT, seq=4)

        assert state.members[BERT.uuid].read_seq == 4
        contents.check(group, ["by anna"] * 4)

    def test_send_keeps_a_mark_of_another_process(self, new_store: NewStore, contents: TableContents) -> None:
        store, other_store = new_store(), new_store()
        group = write(store, ANNA, ANNA)
        positions_of(other_store).mark_read(group_uuid=group, user=BERT, seq=1)
        store.send(group_uuid=group, sender=ANNA, text="by anna")

        assert contents.inbox(BERT)[0].read_seq == 1
        contents.check(group, ["by anna"] * 3)

    @pytest.mark.parametrize(
        ("senders", "marked", "read_seq"),
        [
            ([ANNA, ANNA], 2, 1),
            ([ANNA, BERT], 2, 0),
            ([ANNA, BERT, ANNA, BERT, BERT], 5, 2),
            ([ANNA, *[BERT] * 45], 46, 0),
            ([BERT, BERT], 2, 2),
            ([ANNA, ANNA, ANNA], 0, 0),
        ],
    )
    def test_unread_begins_at_the_last_message_of_the_other_member(
        self, new_store: NewStore, contents: TableContents, senders: list[User], marked: int, read_seq: int
    ) -> None:
        store = new_store()
        group = write(store, *senders)
        positions_of(store).mark_read(group_uuid=group, user=BERT, seq=marked)
        state = positions_of(store).mark_unread(group_uuid=group, user=BERT)

        assert state.members[BERT.uuid].read_seq == contents.inbox(BERT)[0].read_seq == read_seq
        assert contents.inbox(ANNA)[0].read_seq == contents.conversation(group).members[ANNA.uuid].read_seq

    def test_message_without_a_number_is_not_the_last_one(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        group = write(store, ANNA, ANNA)
        contents.put(Message(group, "2999-01-01T00:00:00.000000+00:00", "a uuid", "stray", ANNA, seq=None).to_item())
        positions_of(store).mark_read(group_uuid=group, user=BERT, seq=2)

        assert positions_of(store).mark_unread(group_uuid=group, user=BERT).members[BERT.uuid].read_seq == 1

    @pytest.mark.parametrize("later_by", [None, 0, 1])
    def test_mark_repairs_a_row_that_is_missing_or_that_an_older_backend_moved(
        self, new_store: NewStore, contents: TableContents, later_by: int | None
    ) -> None:
        store = new_store()
        group = write(store, ANNA, ANNA)
        [row] = contents.inbox(BERT)
        contents.remove(row.key())
        if later_by is not None:
            created_at = to_timestamp(from_timestamp(row.last_message_at) + timedelta(seconds=later_by))
            contents.put(old_row(BERT, created_at, ANNA, "by the old function", group=group))

        positions_of(store).mark_read(group_uuid=group, user=BERT, seq=1)
        contents.check(group, ["by anna"] * 2)
        [row] = contents.inbox(BERT)
        assert (row.seq, row.read_seq, row.other) == (2, 1, ANNA)

    def test_repaired_row_leaves_the_row_in_its_place(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        group = write(store, ANNA, ANNA)
        [row] = contents.inbox(BERT)
        other_row = old_row(BERT, row.last_message_at, CARL, "of another conversation")
        contents.put(other_row)

        state = positions_of(store).mark_read(group_uuid=group, user=BERT, seq=1)
        assert state == contents.conversation(group)
        assert state.last_message_at == tick_after(row.last_message_at)
        assert other_row in contents.items()
        assert [len(contents.inbox(user)) for user in (ANNA, BERT)] == [1, 2]

    def test_row_without_a_number_has_no_unread_messages(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        write(store, ANNA)
        contents.put({**old_row(BERT, contents.inbox(BERT)[0].last_message_at, ANNA, "x"), "read_seq": {"N": "1"}})

        assert [row.unread_count for row in store.list_inbox(user_uuid=BERT.uuid, limit=20).items] == [0]
        assert positions_of(store).unread_count(user_uuid=BERT.uuid, at_most=99) == 0

    def test_mark_unread_reads_no_message(self, new_store: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
        store = new_store()
        group = write(store, ANNA, *[BERT] * 40)
        monkeypatch.delattr(Table, "newest")
        assert positions_of(store).mark_unread(group_uuid=group, user=BERT).members[BERT.uuid].read_seq == 0

    def test_search_for_the_last_message_comes_once_and_blocks_no_send(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store, other_store = new_store(), new_store()
        group = write(store, ANNA, *[BERT] * 40)
        forget_last_seqs(contents, group)
        pages: list[int] = []
        newest = store._table.newest

        def watched(pk: str, *, limit: int, before: str | None) -> object:
            pages.append(limit)
            if len(pages) <= 2:
                with store.conversations.lock(group):  # another writer can take it
                    other_store.send(group_uuid=group, sender=BERT, text="meanwhile")
            return newest(pk, limit=limit, before=before)

        store._table.newest = watched  # type: ignore[method-assign,assignment]
        state = positions_of(store).mark_unread(group_uuid=group, user=BERT)

        assert (state.seq, state.members[BERT.uuid].read_seq) == (43, 0)
        assert pages == [20, 40, 20]
        positions_of(store).mark_unread(group_uuid=group, user=BERT)
        assert pages == [20, 40, 20]

    def test_unread_begins_at_a_message_that_arrives_during_the_search(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store, other_store = new_store(), new_store()
        group = write(store, ANNA, BERT)
        forget_last_seqs(contents, group)
        newest, meanwhile = store._table.newest, iter((ANNA, BERT))

        def watched(pk: str, *, limit: int, before: str | None) -> object:
            page = newest(pk, limit=limit, before=before)
            for sender in meanwhile:
                other_store.send(group_uuid=group, sender=sender, text="meanwhile")
            return page

        store._table.newest = watched  # type: ignore[method-assign,assignment]
        state = positions_of(store).mark_unread(group_uuid=group, user=BERT)

        assert (state.seq, state.members[BERT.uuid].read_seq) == (4, 2)

    def test_old_conversation_counts_as_read(self, new_store: NewStore, contents: TableContents) -> None:
        contents.put(*old_conversation(*TIMES))
        positions = positions_of(new_store())
        assert positions.unread_count(user_uuid=BERT.uuid, at_most=99) == 0
        assert positions.mark_unread(group_uuid=GROUP, user=BERT).members[BERT.uuid].read_seq == 2
        assert positions.mark_read(group_uuid=GROUP, user=BERT, seq=3).members[BERT.uuid].read_seq == 3

        contents.check(GROUP, ["old 0", "old 1", "old 2"])

    def test_conversation_without_messages_can_be_marked_unread(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        contents.put(*old_conversation(rows_at="2023-01-01T00:00:00.000000+00:00"))
        state = positions_of(new_store()).mark_unread(group_uuid=GROUP, user=ANNA)
        assert (state.seq, state.members[ANNA.uuid].read_seq) == (0, 0)


def forget_last_seqs(contents: TableContents, group_uuid: str) -> None:
    """Make the state one of an earlier version of the server."""
    state = contents.conversation(group_uuid)
    members = {uuid: replace(member, last_seq=None) for uuid, member in state.members.items()}
    contents.put(replace(state, members=members).to_item())


def read_seqs(state: Conversation) -> dict[str, int]:
    return {uuid: member.read_seq for uuid, member in state.members.items()}
