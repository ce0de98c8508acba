"""The contract of blocks. A subclass runs it on each engine and in each mode."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.ddb.conversations import Conversations
from lib.ddb.errors import ReceiverBlocked, ReceiverUnavailable, StoreError
from lib.ddb.idempotency import Idempotency
from lib.ddb.items import Conversation, Item, pair_key
from lib.ddb.migration import migrate_conversation
from lib.ddb.store import MessageStore
from lib.ddb.table import Table
from lib.users.accounts import User
from tests.support.old_data import GROUP, TIMES, name_in_guard, old_conversation, old_row
from tests.support.stores import (
    ANNA,
    BERT,
    CARL,
    NewStore,
    SteppingClock,
    TableContents,
    after_start,
    all_pages,
    blocks_of,
    positions_of,
)

OTHER_GROUP = "00000000-55d1-47a0-bc6d-fe2bc2700399"


def write(store: MessageStore, *senders: User) -> str:
    """Write a message of each sender to the conversation of Anna and Bert; return its uuid."""
    for number, sender in enumerate(senders):
        receiver = BERT if sender == ANNA else ANNA
        message = store.send_to_user(sender=sender, receiver=receiver, text=str(number))
    return message.group_uuid


def refusal(store: MessageStore, sender: User, *, group: str | None = None) -> type[StoreError] | None:
    """The refusal of a message of Anna or Bert, by handle or into a conversation; None if it is sent."""
    try:
        if group:
            store.send(group_uuid=group, sender=sender, text="hello")
        else:
            store.send_to_user(sender=sender, receiver=BERT if sender == ANNA else ANNA, text="hello")
    except (ReceiverBlocked, ReceiverUnavailable) as error:
        return type(error)
    return None


def blocked(store: MessageStore, owner: User) -> list[str]:
    """The handles of those whom a user blocks."""
    return [block.user.handle for block in blocks_of(store).page(user_uuid=owner.uuid, limit=100).items]


class BlockContract:
    """The subclass's module has the fixtures `new_store` and `contents`."""

    def test_block_in_a_conversation_is_in_the_state_in_the_own_row_and_in_the_list(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store = new_store()
        group = write(store, ANNA, BERT)
        before = {item["pk"]["S"]: item for item in contents.items()}
        blocks_of(store, clock=SteppingClock()).add(user=BERT, other=ANNA)

        after = {item["pk"]["S"]: item for item in contents.items()}
        assert contents.conversation(group).blockers == {BERT.uuid}
        assert after.pop(f"BLOCK#{BERT.uuid}") == {
            "pk": {"S": f"BLOCK#{BERT.uuid}"},
            "sk": {"S": ANNA.uuid},
            "user_uuid": {"S": ANNA.uuid},
            "user_handle": {"S": "anna"},
            "user_display_name": {"S": "Anna Ann"},
            "created_at": {"S": after_start(0)},
        }
        assert {pk for pk in before if after[pk] != before[pk]} == {f"CONV#{group}", f"GRP#{BERT.uuid}"}
        row = f"GRP#{BERT.uuid}"
        assert after[row] == {**before[row], "blocks": {"BOOL": True}}
        contents.check(group, ["0", "1"])

    def test_block_before_the_first_message_is_in_the_pair_guard_and_in_the_list(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        blocks_of(new_store()).add(user=BERT, other=ANNA)

        guard = {**pair_key(ANNA.uuid, BERT.uuid), "blocks": {"SS": [BERT.uuid]}}
        assert guard in contents.items()
        assert [item["pk"]["S"] for item in contents.items() if item != guard] == [f"BLOCK#{BERT.uuid}"]

    @pytest.mark.parametrize("has_conversation", [True, False])
    def test_block_refuses_messages_of_both_and_an_unblock_lets_them_pass(
        self, new_store: NewStore, has_conversation: bool
    ) -> None:
        store, other_store = new_store(), new_store()
        if has_conversation:
            write(store, ANNA)
        blocks_of(other_store).add(user=BERT, other=ANNA)
        assert [refusal(store, ANNA), refusal(store, BERT)] == [ReceiverUnavailable, ReceiverBlocked]
        assert store.send_to_user(sender=CARL, receiver=BERT, text="hello").seq == 1

        blocks_of(other_store).remove(user=BERT, other=ANNA)
        assert [refusal(store, ANNA), refusal(store, BERT)] == [None, None]

    def test_block_survives_a_write_of_an_older_version(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        group = write(store, ANNA, BERT)
        blocks_of(store).add(user=BERT, other=ANNA)
        contents.write_members(group)
        store = new_store()
        assert [refusal(store, ANNA), refusal(store, BERT)] == [ReceiverUnavailable, ReceiverBlocked]

        blocks_of(store).remove(user=BERT, other=ANNA)
        assert blocked(store, BERT) == []
        assert [refusal(store, ANNA), refusal(store, BERT)] == [None, None]

    @pytest.mark.parametrize("has_conversation", [True, False])
    def test_own_block_is_the_reason_if_both_block(self, new_store: NewStore, has_conversation: bool) -> None:
        store = new_store()
        if has_conversation:
            write(store, ANNA)
        for user, other in ((ANNA, BERT), (BERT, ANNA)):
            blocks_of(store).add(user=user, other=other)
        assert [refusal(store, ANNA), refusal(store, BERT)] == [ReceiverBlocked, ReceiverBlocked]

        blocks_of(store).remove(user=ANNA, other=BERT)
        assert [refusal(store, ANNA), refusal(store, BERT)] == [ReceiverUnavailable, ReceiverBlocked]
        assert [blocked(store, ANNA), blocked(store, BERT)] == [[], ["anna"]]

    @pytest.mark.parametrize("has_conversation", [True, False])
    def test_repetition_changes_nothing(
        self, new_store: NewStore, contents: TableContents, has_conversation: bool
    ) -> None:
        store = new_store()
        if has_conversation:
            write(store, ANNA)
        without = self.without_versions(contents)
        blocks_of(store).remove(user=BERT, other=ANNA)
        assert self.without_versions(contents) == without
        blocks_of(store, clock=SteppingClock()).add(user=BERT, other=ANNA)
        items = contents.items()
        blocks_of(store).add(user=BERT, other=ANNA)
        assert contents.items() == items

        for _ in range(2):
            blocks_of(store).remove(user=BERT, other=ANNA)
            assert self.without_versions(contents) == without

    def test_block_refuses_a_message_with_a_stale_state(self, new_store: NewStore, contents: TableContents) -> None:
        stale = new_store()
        group = write(stale, ANNA)
        stale.send(group_uuid=group, sender=ANNA, text="1")
        blocks_of(new_store()).add(user=BERT, other=ANNA)
        assert refusal(stale, ANNA, group=group) is ReceiverUnavailable
        contents.check(group, ["0", "1"])

    def test_unblock_holds_for_a_message_with_a_stale_state(self, new_store: NewStore) -> None:
        stale = new_store()
        group = write(stale, ANNA)
        blocks_of(stale).add(user=BERT, other=ANNA)
        blocks_of(new_store()).remove(user=BERT, other=ANNA)
        assert refusal(stale, ANNA, group=group) is None

    def test_first_message_after_a_read_of_the_pair_is_refused(
        self, new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late = new_store()
        monkeypatch.setattr(late.conversations, "find_by_pair", lambda sender, receiver: None)
        blocks_of(new_store()).add(user=BERT, other=ANNA)
        assert [refusal(late, ANNA), refusal(late, BERT)] == [ReceiverUnavailable, ReceiverBlocked]
        assert not contents.inbox(ANNA)

    def test_block_during_the_first_message_goes_to_the_conversation(
        self, new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, find = new_store(), Conversations.find_by_pair
        late = new_store()

        def before_the_message(user: User, other: User) -> str | None:
            monkeypatch.undo()
            assert find(late.conversations, user, other) is None
            write(store, ANNA)
            return None

        monkeypatch.setattr(late.conversations, "find_by_pair", before_the_message)
        blocks_of(late).add(user=BERT, other=ANNA)
        [row] = contents.inbox(BERT)
        assert row.blocks
        assert contents.conversation(row.group_uuid).blockers == {BERT.uuid}
        assert refusal(store, ANNA) is ReceiverUnavailable

    def test_rows_and_state_keep_the_block_when_others_write_them(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store = new_store()
        group = write(store, ANNA, BERT, ANNA)
        blocks_of(store).add(user=BERT, other=ANNA)
        positions_of(store).mark_unread(group_uuid=group, user=ANNA)
        [row] = contents.inbox(ANNA)
        contents.remove(row.key())
        positions_of(store).mark_read(group_uuid=group, user=ANNA, seq=3)  # repairs the row

        assert contents.conversation(group).blockers == {BERT.uuid}
        assert [row.blocks for row in contents.inbox(BERT)] == [True]
        assert not contents.inbox(ANNA)[0].blocks
        contents.check(group, ["0", "1", "2"])

    def test_position_of_the_member_who_blocks_stays(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        group = write(store, ANNA, BERT, ANNA)
        blocks_of(store).add(user=BERT, other=ANNA)
        before = contents.conversation(group)
        positions = positions_of(store)
        for after in (
            positions.mark_unread(group_uuid=group, user=BERT),
            positions.mark_read(group_uuid=group, user=BERT, seq=3),
        ):
            assert after == contents.conversation(group) == before
        blocks_of(store).remove(user=BERT, other=ANNA)
        assert positions.mark_read(group_uuid=group, user=BERT, seq=3).members[BERT.uuid].read_seq == 3

    def test_block_repairs_a_row_that_is_not_in_order(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        group = write(store, ANNA)
        [row] = contents.inbox(BERT)
        contents.remove(row.key())
        contents.put(old_row(BERT, after_start(-60), ANNA, "by the old function", group=group))

        blocks_of(store).add(user=BERT, other=ANNA)
        assert [row.blocks for row in contents.inbox(BERT)] == [True]
        assert blocked(store, BERT) == ["anna"]
        contents.check(group, ["0"])

    def test_conversation_counts_no_unread_for_the_member_who_blocks(self, new_store: NewStore) -> None:
        store = new_store()
        write(store, ANNA, ANNA)

        def counts() -> tuple[int, int]:
            [row] = store.list_inbox(user_uuid=BERT.uuid, limit=20).items
            return row.unread_count, positions_of(store).unread_count(user_uuid=BERT.uuid, at_most=99)

        assert counts() == (2, 2)
        blocks_of(store).add(user=BERT, other=ANNA)
        assert counts() == (0, 0)
        blocks_of(store).remove(user=BERT, other=ANNA)
        assert counts() == (2, 2)

    def test_message_that_was_stored_before_the_block_has_its_receipt(self, new_store: NewStore) -> None:
        store, once = new_store(), Idempotency("a key", "a hash")
        message = store.send_to_user(sender=ANNA, receiver=BERT, text="once", idempotency=once)
        blocks_of(store).add(user=BERT, other=ANNA)
        with pytest.raises(ReceiverUnavailable):
            store.send_to_user(sender=ANNA, receiver=BERT, text="once", idempotency=once)
        receipt = store.receipt(user=ANNA, key=once.key)
        assert receipt
        assert receipt.message == message

    def test_block_migrates_an_old_conversation(self, new_store: NewStore, contents: TableContents) -> None:
        contents.put(*old_conversation(*TIMES))
        store = new_store()
        blocks_of(store).add(user=BERT, other=ANNA)
        assert contents.conversation(GROUP).blockers == {BERT.uuid}
        assert refusal(store, ANNA, group=GROUP) is ReceiverUnavailable
        contents.check(GROUP, ["old 0", "old 1", "old 2"])

    @pytest.mark.parametrize("blockers", [[BERT], [ANNA, BERT]])
    def test_migration_takes_the_blocks_of_the_pair_guard_over(
        self, new_store: NewStore, contents: TableContents, blockers: list[User]
    ) -> None:
        store = new_store()
        for user in blockers:
            blocks_of(store).add(user=user, other=BERT if user == ANNA else ANNA)
        contents.put(*old_conversation(*TIMES))
        store.list_messages(group_uuid=GROUP, user=ANNA, limit=20)

        assert contents.conversation(GROUP).blockers == {user.uuid for user in blockers}
        assert {**pair_key(ANNA.uuid, BERT.uuid), "group_uuid": {"S": GROUP}} in contents.items()
        assert contents.inbox(BERT)[0].blocks
        contents.check(GROUP, ["old 0", "old 1", "old 2"])
        for user in blockers:
            blocks_of(store).remove(user=user, other=BERT if user == ANNA else ANNA)
        assert refusal(store, ANNA) is None

    @pytest.mark.parametrize("changes", [["add"], ["add", "remove"], ["add", "remove", "add"]])
    def test_blocks_during_a_migration_are_not_lost(
        self, new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch, changes: list[str]
    ) -> None:
        store, other_store = new_store(), new_store()
        table, remaining = store._table, iter(changes)
        monkeypatch.setattr(other_store.conversations, "find_by_pair", lambda user, other: None)
        contents.put(*old_conversation(*TIMES))
        transact = Table.transact

        def after_a_change(self: Table, writes: list[Item], **options: bool) -> None:
            if self is table and "PAIR#" in str(writes) and (change := next(remaining, None)):
                getattr(blocks_of(other_store), change)(user=BERT, other=ANNA)
            transact(self, writes, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Table, "transact", after_a_change)
        migrate_conversation(table, GROUP, requesting_user=ANNA)
        assert next(remaining, None) is None
        expected = {BERT.uuid} if changes[-1] == "add" else set()
        assert contents.conversation(GROUP).blockers == expected
        assert {**pair_key(ANNA.uuid, BERT.uuid), "group_uuid": {"S": GROUP}} in contents.items()
        assert bool(blocked(store, BERT)) == bool(expected)

    def test_block_holds_for_both_old_conversations_of_a_pair(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        contents.put(*old_conversation(*TIMES), *old_conversation(TIMES[0], group=OTHER_GROUP))
        store, other_store = new_store(), new_store()
        write(store, ANNA)
        store.send(group_uuid=OTHER_GROUP, sender=BERT, text="by uuid")
        blocks_of(other_store).add(user=BERT, other=ANNA)

        for group in (GROUP, OTHER_GROUP):
            assert refusal(store, ANNA, group=group) is ReceiverUnavailable
            assert refusal(store, BERT, group=group) is ReceiverBlocked
        second = contents.conversation(OTHER_GROUP)
        assert second.blockers == set()
        assert store.conversations.with_pair_blocks(second).blockers == {BERT.uuid}
        blocks_of(other_store).remove(user=BERT, other=ANNA)
        assert refusal(store, ANNA, group=OTHER_GROUP) is None
        contents.check(OTHER_GROUP, ["old 0", "by uuid", "hello"])

    def test_block_goes_to_the_conversation_that_the_guard_names_by_then(
        self, new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        contents.put(*old_conversation(*TIMES), *old_conversation(TIMES[0], group=OTHER_GROUP))
        store = new_store()
        write(store, ANNA)
        store.conversations.get(group_uuid=OTHER_GROUP, user=ANNA)
        get = Conversations.get

        def after_a_repair(self: Conversations, *, group_uuid: str, user: User) -> Conversation:
            monkeypatch.undo()
            name_in_guard(contents, OTHER_GROUP, GROUP)
            return get(self, group_uuid=group_uuid, user=user)

        monkeypatch.setattr(Conversations, "get", after_a_repair)
        blocks_of(store).add(user=BERT, other=ANNA)
        assert contents.conversation(OTHER_GROUP).blockers == {BERT.uuid}
        assert contents.conversation(GROUP).blockers == set()

    def test_wrong_link_stops_no_message(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        group = write(store, ANNA)
        carl = store.send_to_user(sender=CARL, receiver=ANNA, text="hello").group_uuid
        blocks_of(store).add(user=ANNA, other=CARL)
        for link in (OTHER_GROUP, carl):
            state = contents.conversation(group)
            contents.put(replace(state, pair_group_uuid=link, version=state.version + 1).to_item())
            assert refusal(store, ANNA, group=group) is None

    def test_conversation_that_cannot_be_migrated_hinders_no_block(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        """A row of an older backend that names no second member: the conversation cannot be migrated."""
        contents.put(old_row(BERT, TIMES[0], ANNA, "x"), old_row(CARL, TIMES[0], BERT, "x"))
        store = new_store()
        blocks_of(store).add(user=BERT, other=ANNA)
        assert blocked(store, BERT) == ["anna"]

    def test_pages_of_blocks_together_are_the_whole_list(self, new_store: NewStore) -> None:
        store = new_store()
        others = [User(f"{number:08}-0000-4000-8000-000000000000", f"user-{number}", "U") for number in range(7)]
        for other in others:
            blocks_of(store).add(user=ANNA, other=other)
        for limit in (1, 3, 7, 8):
            blocks = all_pages(
                lambda cursor, limit=limit: blocks_of(store).page(  # type: ignore[misc]
                    user_uuid=ANNA.uuid, limit=limit, cursor=cursor
                )
            )
            assert [block.user for block in blocks] == others[::-1]
        assert blocked(store, BERT) == []

    @staticmethod
    def without_versions(contents: TableContents) -> list[Item]:
        items = [{name: value for name, value in item.items() if name != "version"} for item in contents.items()]
        return sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))
