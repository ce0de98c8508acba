"""The store's contract on the engine under test, by the program's own client and by boto3."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.block_contract import BlockContract
from tests.support.read_position_contract import ReadPositionContract
from tests.support.receipt_contract import ReceiptContract
from tests.support.store_contract import StoreContract
from tests.support.stores import NewStore, stores_on


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
    pass
