"""A table for each test that needs one: ministack's, or moto's, which takes three times as long for each call."""

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
def empty_table(client: Any) -> Iterator[Any]:
    """The client, while the engine has an empty table."""
    create_table(client, TABLE)
    yield client
    client.delete_table(TableName=TABLE)


@contextmanager
def moto_client() -> Iterator[Any]:
    """A client of a DynamoDB in this process that has an empty table."""
    settings = DynamoDBSettings(aws_default_region="us-east-1")
    with mock_aws(), patch.object(StreamShard, "add", lambda *images: None), empty_table(connect(settings)) as client:
        yield client


@pytest.fixture(scope="session")
def ministack_client(ministack_url: str) -> Iterator[Any]:
    """A client of the ministack of this run."""
    client = connect(DynamoDBSettings(aws_default_region="us-east-1", aws_endpoint_url_dynamodb=ministack_url))
    yield client
    client.close()


@pytest.fixture
def client(ministack_client: Any) -> Iterator[Any]:
    with empty_table(ministack_client) as client:
        yield client


@pytest.fixture
def new_store(client: Any) -> NewStore:
    return stores_on(client, TABLE)


@pytest.fixture
def contents(client: Any) -> TableContents:
    return TableContents(client, TABLE)
