"""The store's contract on the engine under test, by the program's own client and by boto3."""

from __future__ import annotations

from typing import Any

import pytest

from lib.ddb.conversations import Conversations
from lib.ddb.errors import ReceiverUnavailable
from lib.ddb.items import Conversation
from tests.support.block_contract import OTHER_GROUP, BlockContract
from tests.support.old_data import GROUP, TIMES, old_conversation
from tests.support.read_position_contract import ReadPositionContract
from tests.support.receipt_contract import ReceiptContract
from tests.support.store_contract import StoreContract
from tests.support.stores import ANNA, BERT, NewStore, TableContents, blocks_of, stores_on


@pytest.fixture
def new_store(connected: Any, table: str) -> NewStore:
    return stores_on(connected, table)


class TestStoreOnEngine(StoreContract):
    pass


class TestReceiptsOnEngine(ReceiptContract):
    pass


class TestReadPositionsOnEngine(ReadPositionContract):
    pass


class TestBlocksOnEngine(BlockContract):
    def test_block_after_the_read_of_a_linked_conversation_refuses_the_message(
        self, new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        contents.put(*old_conversation(*TIMES), *old_conversation(TIMES[0], group=OTHER_GROUP))
        store, linked = new_store(), Conversations.linked
        for group in (GROUP, OTHER_GROUP):
            store.send(group_uuid=group, sender=BERT, text="before")

        def before_a_block(conversations: Conversations, state: Conversation) -> Conversation | None:
            first = linked(conversations, state)
            monkeypatch.undo()
            blocks_of(new_store()).add(user=BERT, other=ANNA)
            return first

        monkeypatch.setattr(Conversations, "linked", before_a_block)
        with pytest.raises(ReceiverUnavailable):
            store.send(group_uuid=OTHER_GROUP, sender=ANNA, text="too late")
        contents.check(OTHER_GROUP, ["old 0", "before"])
