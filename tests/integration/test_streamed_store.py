"""The store's contract in stream mode, where the function does pattern D, on the engine under test."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lib.clock import tick_after
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.users.accounts import User
from tests.support.block_contract import BlockContract
from tests.support.read_position_contract import ReadPositionContract
from tests.support.receipt_contract import ReceiptContract
from tests.support.store_contract import StoreContract
from tests.support.stores import (
    ANNA,
    BERT,
    CARL,
    START,
    NewStore,
    SteppingClock,
    TableContents,
    blocks_of,
    positions_of,
)
from tests.support.streamed import settled_stores_on, streamed_stores_on


@pytest.fixture
def new_store(connected: Any, table: str, monkeypatch: pytest.MonkeyPatch) -> NewStore:
    monkeypatch.setattr("lib.ddb.inbox_rows.now", lambda: START)  # no message of the contracts is late
    return settled_stores_on(connected, table)


class TestStreamedStoreOnEngine(StoreContract):
    def test_conversations_of_one_user_at_one_instant_do_not_overwrite_each_other(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        still = SteppingClock(timedelta(0))
        to_bert = new_store(clock=still).send_to_user(sender=ANNA, receiver=BERT, text="b1")
        to_carl = new_store(clock=still).send_to_user(sender=ANNA, receiver=CARL, text="c1")
        message = new_store(clock=still).send(group_uuid=to_bert.group_uuid, sender=BERT, text="b2")

        # The message stays where it is: its rows give way to the other conversation's.
        assert message.created_at == to_carl.created_at
        assert [(row.text, row.last_message_at) for row in contents.inbox(ANNA)] == [
            ("c1", to_carl.created_at),
            ("b2", tick_after(message.created_at)),
        ]
        assert contents.conversation(to_bert.group_uuid).last_message_at == tick_after(message.created_at)
        contents.check(to_carl.group_uuid, ["c1"])

    def test_own_messages_keep_their_order_when_clock_and_state_go_back(
        self, dynamodb_client: Any, table: str, contents: TableContents
    ) -> None:
        times = (START + timedelta(seconds=seconds) for seconds in (0, 9, 5))
        store = streamed_stores_on(dynamodb_client, table)(clock=lambda: next(times))
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        for text in ("two", "three"):
            store.send(group_uuid=group, sender=BERT, text=text)
            positions_of(store).mark_read(group_uuid=group, user=BERT, seq=1)  # its state counts one message

        assert [message.text for message in contents.messages(group)] == ["one", "two", "three"]


class TestStreamedReceiptsOnEngine(ReceiptContract):
    pass


class TestStreamedReadPositionsOnEngine(ReadPositionContract):
    pass


class TestStreamedBlocksOnEngine(BlockContract):
    @pytest.mark.parametrize("sender", [ANNA, BERT])
    def test_numbers_of_messages_from_before_a_block_keep_it(
        self, connected: Any, table: str, contents: TableContents, sender: User
    ) -> None:
        store = streamed_stores_on(connected, table)()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        message = store.send(group_uuid=group, sender=sender, text="two")
        blocks_of(store).add(user=BERT, other=ANNA)
        SequenceNumbers(store._table).update(group, [message])

        contents.check(group, ["one", "two"])
        assert contents.conversation(group).blockers == {BERT.uuid}
        assert [row.blocks for user in (ANNA, BERT) for row in contents.inbox(user)] == [False, True]
