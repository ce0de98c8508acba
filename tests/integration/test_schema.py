"""The table as `create_table` makes it, or finds it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from lib.clock import now
from lib.ddb.errors import SchemaMismatch, StoreUnavailable
from lib.ddb.schema import create_table, table_definition
from tests.support.corruptions import NOBODY
from tests.support.doctor_fixtures import run_doctor
from tests.support.old_data import GROUP, TIMES, old_conversation, old_row
from tests.support.stores import ANNA, TableContents, stores_on
from tools.doctor.findings import Code


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
    assert run_doctor(dynamodb_client, name).codes == [Code.TABLE_SCHEMA]
    for _ in range(2):
        assert not create_table(dynamodb_client, name)
        assert ttl(dynamodb_client, name)["TimeToLiveStatus"] == "ENABLED"


def test_table_with_another_ttl_attribute_is_refused(dynamodb_client: Any, name: str) -> None:
    dynamodb_client.create_table(**table_definition(name))
    other = {"AttributeName": "gone_at", "Enabled": True}
    dynamodb_client.update_time_to_live(TableName=name, TimeToLiveSpecification=other)
    with pytest.raises(SchemaMismatch, match="TTL attribute: gone_at instead of expires_at"):
        create_table(dynamodb_client, name)


def create_differing_table(client: Any, name: str, *, projection: str = "KEYS_ONLY", view: str = "NEW_IMAGE") -> None:
    """Create a table with another projection of its index or another view of its stream; "" leaves the part out."""
    definition = table_definition(name)
    definition["GlobalSecondaryIndexes"][0]["Projection"]["ProjectionType"] = projection
    definition["StreamSpecification"]["StreamViewType"] = view
    if not projection:
        del definition["GlobalSecondaryIndexes"], definition["AttributeDefinitions"][2]
    if not view:
        del definition["StreamSpecification"]
    client.create_table(**definition)


@pytest.mark.parametrize(
    ("projection", "view", "mismatches"),
    [
        (
            *("ALL", "KEYS_ONLY"),
            "the stream's view: KEYS_ONLY instead of NEW_IMAGE; the TTL attribute: off instead of expires_at",
        ),
        (
            *("", ""),
            "the index message-group-sk-index: missing instead of message_group_uuid (HASH), sk (RANGE); "
            "the stream's view: off instead of NEW_IMAGE; the TTL attribute: off instead of expires_at",
        ),
    ],
)
def test_every_difference_from_the_schema_is_named(
    dynamodb_client: Any, name: str, projection: str, view: str, mismatches: str
) -> None:
    create_differing_table(dynamodb_client, name, projection=projection, view=view)
    with pytest.raises(SchemaMismatch) as raised:
        create_table(dynamodb_client, name)
    assert str(raised.value) == f"The table {name} has another schema: {mismatches}"


@pytest.mark.parametrize("projection", ["KEYS_ONLY", "ALL"])
def test_old_data_migrates_with_any_projection_of_the_index(dynamodb_client: Any, name: str, projection: str) -> None:
    create_differing_table(dynamodb_client, name, projection=projection)
    assert not create_table(dynamodb_client, name)
    contents = TableContents(dynamodb_client, name)
    contents.put(*old_conversation(*TIMES))
    for group in (None, GROUP):
        assert run_doctor(dynamodb_client, name, group=group, clock=now).codes == [Code.NOT_MIGRATED], group
    odd = old_row(ANNA, TIMES[0], NOBODY, "a row that names a deleted user")
    contents.put(odd)
    assert Code.USER_UNKNOWN in run_doctor(dynamodb_client, name, group=GROUP, clock=now).codes
    contents.remove({name: odd[name] for name in ("pk", "sk")})
    messages = stores_on(dynamodb_client, name)().list_messages(group_uuid=GROUP, user=ANNA, limit=20).items
    assert [message.text for message in messages] == ["old 2", "old 1", "old 0"]


def test_missing_index_is_unavailability_and_stops_the_doctor(dynamodb_client: Any, name: str) -> None:
    create_differing_table(dynamodb_client, name, projection="")
    contents = TableContents(dynamodb_client, name)
    contents.put(*old_conversation(*TIMES))
    missing = "has no index message-group-sk-index on message_group_uuid"
    store = stores_on(dynamodb_client, name)()
    with pytest.raises(StoreUnavailable, match=missing):
        store.list_messages(group_uuid=GROUP, user=ANNA, limit=20)
    assert len(store.list_inbox(user_uuid=ANNA.uuid, limit=20).items) == 1
    with pytest.raises(StoreUnavailable, match=missing):
        run_doctor(dynamodb_client, name, clock=now)
