"""The store on moto, for unit tests: quick, but moto does not isolate transactions; see tests/integration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from moto import mock_aws
from moto.dynamodb.models.table import StreamShard

from lib.config import DynamoDBSettings
from lib.ddb.schema import create_table
from tests.support.stores import NewStore, TableContents, stores_on
from tools.cli.tables import connect

TABLE = "messages"


@contextmanager
def moto_client() -> Iterator[Any]:
    """A client of a DynamoDB in this process that holds an empty table."""
    with mock_aws(), patch.object(StreamShard, "add", lambda *images: None):
        client = connect(DynamoDBSettings(aws_default_region="us-east-1"))
        create_table(client, TABLE)
        yield client


@pytest.fixture
def client() -> Iterator[Any]:
    with moto_client() as client:
        yield client


@pytest.fixture
def new_store(client: Any) -> NewStore:
    return stores_on(client, TABLE)


@pytest.fixture
def contents(client: Any) -> TableContents:
    return TableContents(client, TABLE)
