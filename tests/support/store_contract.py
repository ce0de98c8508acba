"""What every engine must give: the contract of MessageStore. Subclassed once per kind of engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lib.clock import to_timestamp
from lib.ddb.errors import ConversationNotFound, CursorInvalid
from lib.ddb.items import Message
from lib.users.directory import User
from tests.support.stores import ANNA, BERT, CARL, NOON, NewStore, SteppingClock, TableContents, all_pages, positions_of


class StoreContract:
    """`new_store` and `contents` are fixtures of the subclass's module."""

    def test_first_message_writes_guard_state_message_and_both_rows(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        message = new_store(clock=SteppingClock()).send_to_user(sender=ANNA, receiver=BERT, text="hello")

        group, at = message.group_uuid, "2026-01-02T12:00:00.000000+00:00"
        assert sorted((item["pk"]["S"], item["sk"]["S"]) for item in contents.items()) == [
            (f"CONV#{group}", "STATE"),
            (f"GRP#{ANNA.uuid}", at),
            (f"GRP#{BERT.uuid}", at),
            (f"MSG#{group}", at),
            (f"PAIR#{ANNA.uuid}#{BERT.uuid}", "STATE"),
        ]
        contents.check(group, ["hello"])
        state = contents.conversation(group)
        assert (state.seq, state.version, state.created_at) == (1, 1, at)
        assert (state.members[ANNA.uuid].read_seq, state.members[BERT.uuid].read_seq) == (1, 0)

    def test_items_of_deployed_tables_keep_their_attributes(self, new_store: NewStore, contents: TableContents) -> None:
        message = new_store(clock=SteppingClock()).send_to_user(sender=ANNA, receiver=BERT, text="hello")

        [stored] = contents.partition(f"MSG#{message.group_uuid}")
        assert stored == {
            "pk": {"S": f"MSG#{message.group_uuid}"},
            "sk": {"S": "2026-01-02T12:00:00.000000+00:00"},
            "message": {"S": "hello"},
            "message_uuid": {"S": message.uuid},
            "user_uuid": {"S": ANNA.uuid},
            "user_display_name": {"S": "Anna Ann"},
            "user_handle": {"S": "anna"},
            "seq": {"N": "1"},
        }
        [row] = contents.partition(f"GRP#{BERT.uuid}")
        assert row == {
            "pk": {"S": f"GRP#{BERT.uuid}"},
            "sk": {"S": "2026-01-02T12:00:00.000000+00:00"},
            "message_group_uuid": {"S": message.group_uuid},
            "message": {"S": "hello"},
            "user_uuid": {"S": ANNA.uuid},
            "user_display_name": {"S": "Anna Ann"},
            "user_handle": {"S": "anna"},
            "seq": {"N": "1"},
            "read_seq": {"N": "0"},
            "sender_uuid": {"S": ANNA.uuid},
        }

    def test_index_holds_inbox_rows_alone(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        store.send(group_uuid=group, sender=BERT, text="two")

        assert {item["pk"]["S"] for item in contents.indexed()} == {f"GRP#{ANNA.uuid}", f"GRP#{BERT.uuid}"}

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

    def test_pair_that_talks_keeps_its_conversation(self, new_store: NewStore, contents: TableContents) -> None:
        first = new_store().send_to_user(sender=ANNA, receiver=BERT, text="one")
        back = new_store().send_to_user(sender=BERT, receiver=ANNA, text="two")

        assert back.group_uuid == first.group_uuid
        contents.check(first.group_uuid, ["one", "two"])

    def test_first_messages_at_once_end_in_one_conversation(
        self, new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late = new_store()
        # It looked before the other wrote.
        monkeypatch.setattr(late.conversations, "find_by_pair", lambda sender, receiver: None)
        first = new_store().send_to_user(sender=ANNA, receiver=BERT, text="one")
        second = late.send_to_user(sender=BERT, receiver=ANNA, text="two")

        assert second.group_uuid == first.group_uuid
        contents.check(first.group_uuid, ["one", "two"])

    def test_outdated_memory_costs_a_retry_and_nothing_else(self, new_store: NewStore, contents: TableContents) -> None:
        one, other = new_store(), new_store()
        group = one.send_to_user(sender=ANNA, receiver=BERT, text="0").group_uuid
        for number in range(1, 7):
            store, sender = ((one, ANNA), (other, BERT))[number % 2]
            store.send(group_uuid=group, sender=sender, text=str(number))

        contents.check(group, [str(number) for number in range(7)])

    def test_reply_sorts_after_its_question_on_any_clock(self, new_store: NewStore, contents: TableContents) -> None:
        ahead = new_store(clock=SteppingClock(at=NOON + timedelta(hours=1)))
        behind = new_store(clock=SteppingClock(timedelta(seconds=-5)))
        group = ahead.send_to_user(sender=ANNA, receiver=BERT, text="question").group_uuid
        answers = [behind.send(group_uuid=group, sender=BERT, text=f"answer {number}") for number in range(3)]

        assert [answer.created_at[17:] for answer in answers] == [f"00.00000{number}+00:00" for number in (1, 2, 3)]
        contents.check(group, ["question", "answer 0", "answer 1", "answer 2"])

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

    def test_message_at_a_key_that_is_taken_moves_on_by_a_microsecond(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store = new_store(clock=SteppingClock(timedelta(0)))
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        taken = "2026-01-02T12:00:00.000001+00:00"
        contents.put(Message(group, taken, "a stray uuid", "stray", BERT, seq=None).to_item())
        message = store.send(group_uuid=group, sender=ANNA, text="two")

        assert message.created_at == "2026-01-02T12:00:00.000002+00:00"
        assert [stored.text for stored in contents.messages(group)] == ["one", "stray", "two"]

    def test_pages_put_together_are_the_whole_list(self, new_store: NewStore) -> None:
        store = new_store(clock=SteppingClock(timedelta(days=40)))  # over years
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="0").group_uuid
        for number in range(1, 25):
            store.send(group_uuid=group, sender=ANNA, text=str(number))

        for limit in (1, 5, 24, 25, 26, 100):
            found = all_pages(
                lambda cursor, limit=limit: store.list_messages(  # type: ignore[misc]
                    group_uuid=group, user=BERT, limit=limit, cursor=cursor
                )
            )
            assert [message.text for message in found] == [str(number) for number in reversed(range(25))]

    def test_last_page_has_no_cursor_also_when_it_is_full(self, new_store: NewStore) -> None:
        store = new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        store.send(group_uuid=group, sender=ANNA, text="two")

        assert store.list_messages(group_uuid=group, user=ANNA, limit=2, cursor=None).next_cursor is None
        assert store.list_messages(group_uuid=group, user=ANNA, limit=1, cursor=None).next_cursor is not None

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
        assert store.list_inbox(user_uuid="nobody", limit=20, cursor=None).items == []

    def test_cursor_of_another_partition_or_made_up_is_refused(self, new_store: NewStore) -> None:
        store = new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        other = store.send_to_user(sender=ANNA, receiver=CARL, text="one").group_uuid
        store.send(group_uuid=group, sender=ANNA, text="two")
        cursor = store.list_messages(group_uuid=group, user=ANNA, limit=1, cursor=None).next_cursor
        assert cursor is not None

        for wrong in (cursor[:-1], cursor + "x", "", "x", cursor.partition(".")[0], "é"):
            with pytest.raises(CursorInvalid):
                store.list_messages(group_uuid=group, user=ANNA, limit=1, cursor=wrong)
        with pytest.raises(CursorInvalid):
            store.list_messages(group_uuid=other, user=ANNA, limit=1, cursor=cursor)
        with pytest.raises(CursorInvalid):
            store.list_inbox(user_uuid=ANNA.uuid, limit=1, cursor=cursor)

    def test_conversation_of_others_and_no_conversation_look_the_same(self, new_store: NewStore) -> None:
        store = new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="secret").group_uuid

        for group_uuid in (group, "no such conversation"):
            with pytest.raises(ConversationNotFound):
                store.list_messages(group_uuid=group_uuid, user=CARL, limit=20, cursor=None)
            with pytest.raises(ConversationNotFound):
                store.send(group_uuid=group_uuid, sender=CARL, text="let me in")

    def test_renamed_user_has_the_new_name_in_both_rows_after_the_next_message(
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

    def test_any_text_survives_the_way_to_the_table_and_back(self, new_store: NewStore) -> None:
        store = new_store()
        text = "👩🏽‍🚀 naïve\n\tשלום नमस्ते 中文 \u200d\ufeff \U0010ffff " + "𝕏" * 900
        group = store.send_to_user(sender=ANNA, receiver=BERT, text=text).group_uuid

        [message] = store.list_messages(group_uuid=group, user=BERT, limit=1, cursor=None).items
        assert message.text == text
        assert store.list_inbox(user_uuid=BERT.uuid, limit=1, cursor=None).items[0].text == text

    def test_conversation_that_was_dropped_with_its_table_is_forgotten(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store = new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        contents.clear()

        with pytest.raises(ConversationNotFound):
            store.send(group_uuid=group, sender=ANNA, text="two")
        assert contents.items() == []
        assert store.send_to_user(sender=ANNA, receiver=BERT, text="anew").seq == 1

    def test_memory_of_an_earlier_table_moves_no_row_of_the_one_made_anew(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        uuids = [f"{number:08}-55d1-47a0-bc6d-fe2bc2700399" for number in range(9)]

        def made_at(day: int) -> None:
            made = new_store(clock=SteppingClock(at=NOON + timedelta(days=day)), new_uuid=iter(uuids).__next__)
            made.send_to_user(sender=ANNA, receiver=BERT, text=f"of day {day}")

        made_at(0)
        old = new_store(clock=SteppingClock(at=NOON + timedelta(days=2)))
        old.conversations.cached(group_uuid=uuids[0], user=ANNA)
        contents.clear()
        made_at(1)
        old.send(group_uuid=uuids[0], sender=ANNA, text="by an old memory")

        contents.check(uuids[0], ["of day 1", "by an old memory"])

    def test_timestamps_have_one_width(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store(clock=SteppingClock())
        message = store.send_to_user(sender=ANNA, receiver=BERT, text="on the full second")

        assert message.created_at == to_timestamp(NOON)
        assert len(message.created_at) == 32

    def test_item_without_the_shape_of_a_message_or_a_row_hides_no_other(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store = new_store(clock=SteppingClock())
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        cursor = store.list_inbox(user_uuid=BERT.uuid, limit=1).feed_cursor
        store.send(group_uuid=group, sender=ANNA, text="two")
        nameless = [
            {name: value for name, value in item.items() if name != "user_handle"}
            | {"sk": {"S": f"2026-01-02T13:00:0{at}"}}
            for at, item in enumerate(contents.partition(f"MSG#{group}") + contents.partition(f"GRP#{BERT.uuid}"))
        ]
        contents.put(*nameless)

        messages = all_pages(lambda cursor: store.list_messages(group_uuid=group, user=BERT, limit=1, cursor=cursor))
        assert [message.text for message in messages] == ["two", "one"]
        assert [row.text for row in store.list_inbox(user_uuid=BERT.uuid, limit=5).items] == ["two"]
        assert cursor
        assert [row.text for row in store.list_moved(user_uuid=BERT.uuid, limit=5, since=cursor).items] == ["two"]
        positions = positions_of(store)
        assert positions.unread_count(user_uuid=BERT.uuid, at_most=99) == 2
        assert positions.mark_unread(group_uuid=group, user=BERT).members[BERT.uuid].read_seq == 0
