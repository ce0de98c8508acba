"""The store's contract on moto."""

from __future__ import annotations

from tests.read_position_contract import ReadPositionContract
from tests.receipt_contract import ReceiptContract
from tests.store_contract import StoreContract


class TestStoreOnMoto(StoreContract):
    pass


class TestReceiptsOnMoto(ReceiptContract):
    pass


class TestReadPositionsOnMoto(ReadPositionContract):
    pass
