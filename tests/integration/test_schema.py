"""The table as `create_table` makes it, or finds it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from lib.ddb.errors import SchemaMismatch
from lib.ddb.schema import create_table, table_definition


@pytest.fixture
def name(dynamodb_client: Any) -> Iterator[str]:
    name = f"messages-{uuid.uuid4().hex}"
    yield name
    dynamodb_client.delete_table(TableName=name)


def ttl(client: Any, name: str) -> dict[str, str]:
    return client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]


def test_new_table_expires_items_by_expires_at(dynamodb_client: Any, name: str) -> None:
    assert create_table(dynamodb_client, name)
    assert ttl(dynamodb_client, name) == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


def test_table_without_ttl_gets_it(dynamodb_client: Any, name: str) -> None:
    dynamodb_client.create_table(**table_definition(name))
    assert ttl(dynamodb_client, name)["TimeToLiveStatus"] == "DISABLED"
    for _ in range(2):
        assert not create_table(dynamodb_client, name)
        assert ttl(dynamodb_client, name)["TimeToLiveStatus"] == "ENABLED"


def test_table_with_another_ttl_attribute_is_refused(dynamodb_client: Any, name: str) -> None:
    dynamodb_client.create_table(**table_definition(name))
    other = {"AttributeName": "gone_at", "Enabled": True}
    dynamodb_client.update_time_to_live(TableName=name, TimeToLiveSpecification=other)
    with pytest.raises(SchemaMismatch, match="another TTL attribute than expires_at"):
        create_table(dynamodb_client, name)
