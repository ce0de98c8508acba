"""The store's contract on the engine under test."""

from __future__ import annotations

from typing import Any

import pytest

from tests.store_contract import StoreContract
from tests.stores import NewStore, TableContents, stores_on


@pytest.fixture
def new_store(dynamodb_client: Any, table: str) -> NewStore:
    return stores_on(dynamodb_client, table)


@pytest.fixture
def contents(dynamodb_client: Any, table: str) -> TableContents:
    return TableContents(dynamodb_client, table)


class TestStoreOnEngine(StoreContract):
    pass
