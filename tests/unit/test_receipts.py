"""The receipts' contract by boto3, on moto: in this process, but moto does not isolate transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from moto import mock_aws
from moto.dynamodb.models.table import StreamShard

from lib.ddb.schema import create_table
from tests.support.receipt_contract import ReceiptContract
from tests.support.stores import NewStore, TableContents, stores_on

TABLE = "messages"


@pytest.fixture
def client() -> Iterator[Any]:
    with mock_aws(), patch.object(StreamShard, "add", lambda *images: None):  # it copies the table's items
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_table(client, TABLE)
        yield client


@pytest.fixture
def new_store(client: Any) -> NewStore:
    return stores_on(client, TABLE)


@pytest.fixture
def contents(client: Any) -> TableContents:
    return TableContents(client, TABLE)


class TestReceiptsOnMoto(ReceiptContract):
    pass
