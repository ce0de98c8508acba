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


def test_a_new_table_removes_what_has_expired(dynamodb_client: Any, name: str) -> None:
    assert create_table(dynamodb_client, name)
    assert ttl(dynamodb_client, name) == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


def test_a_table_from_before_the_receipts_gets_its_ttl(dynamodb_client: Any, name: str) -> None:
    dynamodb_client.create_table(**table_definition(name))
    assert ttl(dynamodb_client, name)["TimeToLiveStatus"] == "DISABLED"
    for _ in range(2):
        assert not create_table(dynamodb_client, name)
        assert ttl(dynamodb_client, name)["TimeToLiveStatus"] == "ENABLED"


def test_a_table_that_expires_by_another_attribute_is_refused(dynamodb_client: Any, name: str) -> None:
    dynamodb_client.create_table(**table_definition(name))
    other = {"AttributeName": "gone_at", "Enabled": True}
    dynamodb_client.update_time_to_live(TableName=name, TimeToLiveSpecification=other)
    with pytest.raises(SchemaMismatch, match="another TTL attribute than expires_at"):
        create_table(dynamodb_client, name)
