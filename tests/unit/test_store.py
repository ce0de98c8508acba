"""The store's contract on moto, with the client's shortcuts and without."""

from __future__ import annotations

import pytest

from tests.read_position_contract import ReadPositionContract
from tests.receipt_contract import ReceiptContract
from tests.store_contract import StoreContract

shortcuts = pytest.fixture(params=["on", "off"])(lambda request: request.param)


class TestStoreOnMoto(StoreContract):
    pass


class TestReceiptsOnMoto(ReceiptContract):
    pass


class TestReadPositionsOnMoto(ReadPositionContract):
    pass
