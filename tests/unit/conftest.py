"""The store on moto, for unit tests: quick, but moto does not isolate transactions; see tests/integration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from unittest.mock import patch

import pytest
from moto import mock_aws
from moto.dynamodb.models.table import StreamShard

from lib.config import DynamoDBSettings
from lib.ddb.schema import create_table
from lib.ddb.table import connect
from tests.stores import NewStore, TableContents, stores_on

TABLE = "messages"


@contextmanager
def moto_client(shortcuts: Literal["on", "off"] = "on") -> Iterator[Any]:
    """A client of a DynamoDB in this process that holds an empty table."""
    with mock_aws(), patch.object(StreamShard, "add", lambda *images: None):
        client = connect(DynamoDBSettings(aws_default_region="us-east-1", ddb_shortcuts=shortcuts))
        create_table(client, TABLE)
        yield client


@pytest.fixture
def shortcuts() -> Literal["on", "off"]:
    """Whether the client takes its shortcuts; a module may ask for both."""
    return "on"


@pytest.fixture
def client(shortcuts: Literal["on", "off"]) -> Iterator[Any]:
    with moto_client(shortcuts) as client:
        yield client


@pytest.fixture
def new_store(client: Any) -> NewStore:
    return stores_on(client, TABLE)


@pytest.fixture
def contents(client: Any) -> TableContents:
    return TableContents(client, TABLE)
