"""The store's contract on moto."""

from __future__ import annotations

from tests.store_contract import StoreContract


class TestStoreOnMoto(StoreContract):
    pass
