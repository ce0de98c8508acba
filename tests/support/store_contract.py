"""The contract of MessageStore. A subclass runs it on each engine and in each mode."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lib.clock import from_timestamp, to_timestamp
from lib.ddb.conversations import Conversations
from lib.ddb.errors import ConversationNotFound
from lib.ddb.items import Message
from lib.users.accounts import User
from tests.support.old_data import GROUP, TIMES, name_in_guard, old_conversation, old_row
from tests.support.stores import (
    ANNA,
    BERT,
    CARL,
    START,
    NewStore,
    SteppingClock,
    TableContents,
    after_start,
    all_pages,
    positions_of,
)

OTHER_GROUP = "00000000-55d1-47a0-bc6d-fe2bc2700399"


class StoreContract:
    """The subclass's module has the fixtures `new_store` and `contents`."""

    def test_first_message_writes_guard_state_message_and_both_rows(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        message = new_store(clock=SteppingClock()).send_to_user(sender=ANNA, receiver=BERT, text="hello")

        group, start = message.group_uuid, to_timestamp(START)
        items = {(item["pk"]["S"], item["sk"]["S"]): item for item in contents.items()}
        assert sorted(items) == [
            (f"CONV#{group}", "STATE"),
            (f"GRP#{ANNA.uuid}", start),
            (f"GRP#{BERT.uuid}", start),
            (f"MSG#{group}", start),
            (f"PAIR#{ANNA.uuid}#{BERT.uuid}", "STATE"),
        ]
        # Deployed tables have these attributes.
        anna = {"user_uuid": {"S": ANNA.uuid}, "user_display_name": {"S": "Anna Ann"}, "user_handle": {"S": "anna"}}
        assert items[f"MSG#{group}", start] == {
            "pk": {"S": f"MSG#{group}"},
            "sk": {"S": start},
            "message": {"S": "hello"},
            "message_uuid": {"S": message.uuid},
            **anna,
            "seq": {"N": "1"},
        }
        assert items[f"GRP#{BERT.uuid}", start] == {
            "pk": {"S": f"GRP#{BERT.uuid}"},
            "sk": {"S": start},
            "message_group_uuid": {"S": group},
            "message": {"S": "hello"},
            **anna,
            "seq": {"N": "1"},
            "read_seq": {"N": "0"},
            "sender_uuid": {"S": ANNA.uuid},
            "message_uuid": {"S": message.uuid},
        }
        contents.check(group, ["hello"])
        state = contents.conversation(group)
        assert (state.seq, state.version, state.created_at) == (1, 1, start)
        assert (state.members[ANNA.uuid].read_seq, state.members[BERT.uuid].read_seq) == (1, 0)

    def test_message_moves_both_rows_and_marks_read_for_its_sender(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store = new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        store.send(group_uuid=group, sender=ANNA, text="two")
        store.send(group_uuid=group, sender=BERT, text="three")
        store.send(group_uuid=group, sender=ANNA, text="four")

        contents.check(group, ["one", "two", "three", "four"])
        assert {row.read_seq for row in contents.inbox(ANNA)} == {4}
        assert {row.read_seq for row in contents.inbox(BERT)} == {3}

    @pytest.mark.parametrize("moved_by", [0, -1, 1])
    def test_message_replaces_rows_that_are_missing_or_that_an_older_backend_moved(
        self, new_store: NewStore, contents: TableContents, moved_by: int
    ) -> None:
        store = new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        for owner in (ANNA, BERT):
            [row] = contents.inbox(owner)
            contents.remove(row.key())
            if moved_by:
                created_at = to_timestamp(from_timestamp(row.last_message_at) + timedelta(seconds=moved_by))
                contents.put(old_row(owner, created_at, row.other, "by the old function", group=group))

        store.send(group_uuid=group, sender=BERT, text="two")
        contents.check(group, ["one", "two"])

    def test_message_leaves_the_row_that_another_conversation_has_in_the_place_of_its_own(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store = new_store()
        first = store.send_to_user(sender=ANNA, receiver=BERT, text="one")
        other_row = old_row(BERT, first.created_at, CARL, "of another conversation")
        contents.put(other_row)

        store.send(group_uuid=first.group_uuid, sender=ANNA, text="two")
        assert other_row in contents.items()
        contents.check(first.group_uuid, ["one", "two"])

    def test_simultaneous_first_messages_share_one_conversation(
        self, new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late = new_store()
        # Its read came before the other write.
        monkeypatch.setattr(late.conversations, "find_by_pair", lambda sender, receiver: None)
        first = new_store().send_to_user(sender=ANNA, receiver=BERT, text="one")
        second = late.send_to_user(sender=BERT, receiver=ANNA, text="two")

        assert second.group_uuid == first.group_uuid
        contents.check(first.group_uuid, ["one", "two"])

    def test_send_with_a_stale_state_succeeds(self, new_store: NewStore, contents: TableContents) -> None:
        one, other = new_store(), new_store()
        group = one.send_to_user(sender=ANNA, receiver=BERT, text="0").group_uuid
        for number in range(1, 7):
            store, sender = ((one, ANNA), (other, BERT))[number % 2]
            store.send(group_uuid=group, sender=sender, text=str(number))

        contents.check(group, [str(number) for number in range(7)])

    def test_reply_sorts_after_its_question_even_if_a_clock_is_behind(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        ahead = new_store(clock=SteppingClock(start=START + timedelta(hours=1)))
        behind = new_store(clock=SteppingClock(timedelta(seconds=-5)))
        group = ahead.send_to_user(sender=ANNA, receiver=BERT, text="question").group_uuid
        replies = [behind.send(group_uuid=group, sender=BERT, text=f"reply {number}") for number in range(3)]

        assert [reply.created_at[17:] for reply in replies] == [f"00.00000{number}+00:00" for number in (1, 2, 3)]
        contents.check(group, ["question", "reply 0", "reply 1", "reply 2"])

    def test_conversations_of_one_user_at_one_instant_do_not_overwrite_each_other(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        still = SteppingClock(timedelta(0))
        to_bert = new_store(clock=still).send_to_user(sender=ANNA, receiver=BERT, text="b1")
        to_carl = new_store(clock=still).send_to_user(sender=ANNA, receiver=CARL, text="c1")
        new_store(clock=still).send(group_uuid=to_bert.group_uuid, sender=BERT, text="b2")

        contents.check(to_bert.group_uuid, ["b1", "b2"])
        contents.check(to_carl.group_uuid, ["c1"])
        assert len(contents.inbox(ANNA)) == 2

    def test_taken_sort_key_moves_a_message_by_a_microsecond(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store = new_store(clock=SteppingClock(timedelta(0)))
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        taken = after_start(0.000001)
        contents.put(Message(group, taken, "a stray uuid", "stray", BERT, seq=None).to_item())
        message = store.send(group_uuid=group, sender=ANNA, text="two")

        assert message.created_at == after_start(0.000002)
        assert [stored.text for stored in contents.messages(group)] == ["one", "stray", "two"]

    def test_messages_by_handle_follow_the_pair_guard(self, new_store: NewStore, contents: TableContents) -> None:
        contents.put(*old_conversation(*TIMES), *old_conversation(TIMES[0], group=OTHER_GROUP))
        stores = [new_store(), new_store()]
        for store in stores:
            assert store.send_to_user(sender=ANNA, receiver=BERT, text="new").group_uuid == GROUP
        stores[0].send(group_uuid=OTHER_GROUP, sender=ANNA, text="by uuid")
        name_in_guard(contents, OTHER_GROUP, GROUP)

        for store in stores:
            assert store.send_to_user(sender=BERT, receiver=ANNA, text="newer").group_uuid == OTHER_GROUP
        contents.check(GROUP, ["old 0", "old 1", "old 2", "new", "new"])
        contents.check(OTHER_GROUP, ["old 0", "by uuid", "newer", "newer"])

    def test_message_by_handle_during_a_migration_goes_to_the_migrated_conversation(
        self, new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        contents.put(*old_conversation(*TIMES), *old_conversation(TIMES[0], group=OTHER_GROUP))
        late, old_group = new_store(), Conversations._old_group

        def after_the_other(conversations: Conversations, owner: User, other: User) -> str | None:
            monkeypatch.setattr(Conversations, "_old_group", old_group)
            new_store().send_to_user(sender=BERT, receiver=ANNA, text="faster")
            return old_group(conversations, owner, other)

        monkeypatch.setattr(Conversations, "_old_group", after_the_other)
        for text in ("late", "later"):
            assert late.send_to_user(sender=ANNA, receiver=BERT, text=text).group_uuid == GROUP
        contents.check(GROUP, ["old 0", "old 1", "old 2", "faster", "late", "later"])

    def test_guard_decides_against_a_wrong_link(self, new_store: NewStore, contents: TableContents) -> None:
        stores = [new_store(), new_store()]
        group = stores[0].send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        contents.put(replace(contents.conversation(group), pair_group_uuid=OTHER_GROUP, version=7).to_item())
        for store in stores:
            assert store.send_to_user(sender=ANNA, receiver=BERT, text="two").group_uuid == group

    def test_pages_together_are_the_whole_list(self, new_store: NewStore) -> None:
        store = new_store(clock=SteppingClock(timedelta(days=40)))  # over years
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="0").group_uuid
        for number in range(1, 25):
            store.send(group_uuid=group, sender=ANNA, text=str(number))

        for limit in (1, 5, 24, 25, 26, 100):
            messages = all_pages(
                lambda cursor, limit=limit: store.list_messages(  # type: ignore[misc]
                    group_uuid=group, user=BERT, limit=limit, cursor=cursor
                )
            )
            assert [message.text for message in messages] == [str(number) for number in reversed(range(25))]
        assert store.list_messages(group_uuid=group, user=BERT, limit=25).next_cursor is None
        assert store.list_messages(group_uuid=group, user=BERT, limit=24).next_cursor is not None

    def test_inbox_lists_the_latest_conversation_first(self, new_store: NewStore) -> None:
        store = new_store(clock=SteppingClock())
        to_bert = store.send_to_user(sender=ANNA, receiver=BERT, text="b1")
        store.send_to_user(sender=CARL, receiver=ANNA, text="c1")
        store.send(group_uuid=to_bert.group_uuid, sender=BERT, text="b2")

        rows = all_pages(lambda cursor: store.list_inbox(user_uuid=ANNA.uuid, limit=1, cursor=cursor))
        assert [(row.other.handle, row.text, row.seq, row.read_seq) for row in rows] == [
            ("bert", "b2", 2, 1),
            ("carl", "c1", 1, 0),
        ]
        assert store.list_inbox(user_uuid="nobody", limit=20).items == []

    def test_next_message_of_a_renamed_user_updates_their_name(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store = new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        renamed: User = replace(ANNA, handle="hannah", display_name="Hannah")
        store.send(group_uuid=group, sender=renamed, text="two")
        store.send(group_uuid=group, sender=BERT, text="three")

        assert contents.inbox(BERT)[0].other == renamed
        assert contents.conversation(group).members[ANNA.uuid].user == renamed
        assert [message.sender.handle for message in contents.messages(group)] == ["anna", "hannah", "bert"]

    def test_conversation_of_a_dropped_table_is_not_found(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        contents.clear()

        with pytest.raises(ConversationNotFound):
            store.send(group_uuid=group, sender=ANNA, text="two")
        assert contents.items() == []
        assert store.send_to_user(sender=ANNA, receiver=BERT, text="anew").seq == 1

    def test_state_of_a_dropped_table_moves_no_row_of_the_new_one(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        uuids = [f"{number:08}-55d1-47a0-bc6d-fe2bc2700399" for number in range(9)]

        def start_conversation(day: int) -> None:
            store = new_store(clock=SteppingClock(start=START + timedelta(days=day)), new_uuid=iter(uuids).__next__)
            store.send_to_user(sender=ANNA, receiver=BERT, text=f"of day {day}")

        start_conversation(0)
        old = new_store(clock=SteppingClock(start=START + timedelta(days=2)))
        old.conversations.cached(group_uuid=uuids[0], user=ANNA)
        contents.clear()
        start_conversation(1)
        old.send(group_uuid=uuids[0], sender=ANNA, text="by an old cache")

        contents.check(uuids[0], ["of day 1", "by an old cache"])

    def test_malformed_item_hides_no_other(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store(clock=SteppingClock())
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        cursor = store.list_inbox(user_uuid=BERT.uuid, limit=1).feed_cursor
        store.send(group_uuid=group, sender=ANNA, text="two")
        nameless = [
            {name: value for name, value in item.items() if name != "user_handle"}
            | {"sk": {"S": after_start(3600 + second)[:19]}}
            for second, item in enumerate(contents.partition(f"MSG#{group}") + contents.partition(f"GRP#{BERT.uuid}"))
        ]
        contents.put(*nameless)

        messages = all_pages(lambda cursor: store.list_messages(group_uuid=group, user=BERT, limit=1, cursor=cursor))
        assert [message.text for message in messages] == ["two", "one"]
        assert [row.text for row in store.list_inbox(user_uuid=BERT.uuid, limit=5).items] == ["two"]
        assert cursor
        assert [row.text for row in store.list_changed(user_uuid=BERT.uuid, limit=5, since=cursor).items] == ["two"]
        positions = positions_of(store)
        assert positions.unread_count(user_uuid=BERT.uuid, at_most=99) == 2
        assert positions.mark_unread(group_uuid=group, user=BERT).members[BERT.uuid].read_seq == 0

    def test_item_whose_sort_key_is_no_time_is_in_no_list(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store(clock=SteppingClock())
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        cursor = store.list_inbox(user_uuid=BERT.uuid, limit=1).feed_cursor
        assert cursor
        for text in ("two", "three"):
            store.send(group_uuid=group, sender=ANNA, text=text)
        first, second, _ = [message.created_at for message in contents.messages(group)]
        sort_keys = ("March 1", "1 March", after_start(0)[:20], f"{after_start(1)[:20]}9 PM")
        items = contents.partition(f"MSG#{group}")[:1] + contents.partition(f"GRP#{BERT.uuid}")
        contents.put(*({**item, "sk": {"S": sk}} for item in items for sk in sort_keys))

        def pages(**position: str) -> list[list[str]]:
            """The texts of all pages of one message from a position on."""
            page = store.list_messages(group_uuid=group, user=BERT, limit=1, **position)
            texts = [message.text for message in page.items]
            return [texts, *(pages(**page.next) if page.next else [])]

        assert pages() == pages(before=after_start(86400)) == [["three"], ["two"], ["one"], []]
        assert pages(after=first) == [["two"], ["three"], []]
        around = store.list_messages(group_uuid=group, user=BERT, limit=2, around=first)
        assert ([message.text for message in around.items], around.prev) == (["two", "one"], {"after": second})
        assert [row.text for row in store.list_inbox(user_uuid=BERT.uuid, limit=5).items] == ["three"]
        assert [row.text for row in store.list_changed(user_uuid=BERT.uuid, limit=5, since=cursor).items] == ["three"]
        assert positions_of(store).unread_count(user_uuid=BERT.uuid, at_most=99) == 3
        assert store.send(group_uuid=group, sender=BERT, text="four").created_at < after_start(60)
