"""The table's schema. Scripts, tests and the local stack create the table from it."""

from __future__ import annotations

from typing import Any

from lib.ddb.errors import SchemaMismatch
from lib.ddb.items import EXPIRES_AT

MESSAGE_GROUP_INDEX = "message-group-sk-index"
_TTL_OFF = f"the TTL attribute: off instead of {EXPIRES_AT}"


def table_definition(table: str) -> dict[str, Any]:
    """The arguments of CreateTable.

    The index holds only inbox rows, because no other item has `message_group_uuid`, and only their keys: its readers
    fetch the rows from the table.
    """
    return {
        "TableName": table,
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
            {"AttributeName": "message_group_uuid", "AttributeType": "S"},
        ],
        "KeySchema": _key("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": MESSAGE_GROUP_INDEX,
                "KeySchema": _key("message_group_uuid", "sk"),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    }


def create_table(client: Any, table: str) -> bool:
    """Create the table and wait until it is active; False if it exists. Turns its TTL on if nothing else differs.

    Raises SchemaMismatch if a table of that name has another schema.
    """
    try:
        client.create_table(**table_definition(table))
        created = True
    except client.exceptions.ResourceInUseException:
        created = False
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    mismatches = schema_mismatches(client, table)
    if mismatches == [_TTL_OFF]:
        specification = {"AttributeName": EXPIRES_AT, "Enabled": True}
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=specification)
    elif mismatches:
        raise SchemaMismatch(f"The table {table} has another schema: {'; '.join(mismatches)}")
    return created


def schema_mismatches(client: Any, table: str) -> list[str]:
    """The differences of an existing table from its schema, each as a clause.

    The projection of the index may differ: every index has the keys.
    """
    definition, description = table_definition(table), client.describe_table(TableName=table)["Table"]
    indexes = {index["IndexName"]: index for index in description.get("GlobalSecondaryIndexes", [])}
    [expected_index] = definition["GlobalSecondaryIndexes"]
    index = indexes.get(MESSAGE_GROUP_INDEX)
    view = description.get("StreamSpecification", {}).get("StreamViewType")
    pairs = [
        ("the keys", _describe_key(description), _describe_key(definition)),
        (f"the index {MESSAGE_GROUP_INDEX}", _describe_key(index), _describe_key(expected_index)),
        ("the stream's view", view or "off", definition["StreamSpecification"]["StreamViewType"]),
        ("the TTL attribute", _ttl_attribute(client, table), EXPIRES_AT),
    ]
    return [f"{name}: {actual} instead of {expected}" for name, actual, expected in pairs if actual != expected]


def _key(partition_key: str, sort_key: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition_key, "KeyType": "HASH"},
        {"AttributeName": sort_key, "KeyType": "RANGE"},
    ]


def _describe_key(description: dict[str, Any] | None) -> str:
    if description is None:
        return "missing"
    return ", ".join(f"{element['AttributeName']} ({element['KeyType']})" for element in description["KeySchema"])


def _ttl_attribute(client: Any, table: str) -> str:
    description = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    is_on = description["TimeToLiveStatus"] in ("ENABLING", "ENABLED")
    return str(description["AttributeName"]) if is_on else "off"
