"""The store on a ministack of this run, and an empty table for each test that asks for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lib.aws.dynamodb_client import DynamoDBClient
from lib.config import DynamoDBSettings
from lib.ddb.schema import create_table
from tests.support.stores import NewStore, TableContents, stores_on
from tools.cli.tables import connect

TABLE = "messages"


@pytest.fixture(scope="session")
def dynamodb_settings(ministack_url: str) -> DynamoDBSettings:
    return DynamoDBSettings(
        aws_default_region=os.environ["AWS_DEFAULT_REGION"], aws_endpoint_url_dynamodb=ministack_url
    )


@pytest.fixture(scope="session")
def api_client(dynamodb_settings: DynamoDBSettings) -> Iterator[DynamoDBClient]:
    """The API's client: it costs less CPU than boto3's."""
    client = DynamoDBClient(dynamodb_settings)
    yield client
    client.close()


@pytest.fixture(scope="session")
def boto3_client(dynamodb_settings: DynamoDBSettings) -> Iterator[Any]:
    """The scripts' client, without a table."""
    client = connect(dynamodb_settings)
    yield client
    client.close()


@contextmanager
def empty_table(boto3_client: Any) -> Iterator[TableContents]:
    """A table of the project's schema, for as long as the block runs."""
    create_table(boto3_client, TABLE)
    try:
        yield TableContents(boto3_client, TABLE)
    finally:
        boto3_client.delete_table(TableName=TABLE)


@pytest.fixture
def contents(boto3_client: Any) -> Iterator[TableContents]:
    with empty_table(boto3_client) as contents:
        yield contents


@pytest.fixture
def client(contents: TableContents, boto3_client: Any) -> Any:
    """The scripts' client, with an empty table."""
    return boto3_client


@pytest.fixture
def new_store(contents: TableContents, api_client: DynamoDBClient) -> NewStore:
    return stores_on(api_client, TABLE)
