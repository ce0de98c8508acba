"""The table's schema. Scripts, tests and the local stack create the table from it."""

from __future__ import annotations

from typing import Any

from lib.ddb.errors import SchemaMismatch
from lib.ddb.items import EXPIRES_AT

MESSAGE_GROUP_INDEX = "message-group-sk-index"


def table_definition(table: str) -> dict[str, Any]:
    """The arguments of CreateTable.

    The index holds only inbox rows, because no other item has `message_group_uuid`.
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
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    }


def create_table(client: Any, table: str) -> bool:
    """Create the table and wait until it is active; False if it exists. Turns its TTL on in both cases.

    Raises SchemaMismatch if a table of that name has other keys, lacks the index, or has another TTL attribute.
    """
    definition = table_definition(table)
    try:
        client.create_table(**definition)
        created = True
    except client.exceptions.ResourceInUseException:
        created = False
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    _check(client.describe_table(TableName=table)["Table"], definition)
    _enable_ttl(client, table)
    return created


def _key(partition_key: str, sort_key: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition_key, "KeyType": "HASH"},
        {"AttributeName": sort_key, "KeyType": "RANGE"},
    ]


def _check(description: dict[str, Any], definition: dict[str, Any]) -> None:
    indexes = {index["IndexName"]: index["KeySchema"] for index in description.get("GlobalSecondaryIndexes", [])}
    for index in definition["GlobalSecondaryIndexes"]:
        if indexes.get(index["IndexName"]) != index["KeySchema"]:
            raise SchemaMismatch(f"table {definition['TableName']} has no index {index['IndexName']} as expected")
    if description["KeySchema"] != definition["KeySchema"]:
        raise SchemaMismatch(f"table {definition['TableName']} has other keys than pk and sk")


def _enable_ttl(client: Any, table: str) -> None:
    description = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if description.get("AttributeName", EXPIRES_AT) != EXPIRES_AT:
        raise SchemaMismatch(f"table {table} has another TTL attribute than {EXPIRES_AT}")
    if description["TimeToLiveStatus"] == "DISABLED":
        specification = {"AttributeName": EXPIRES_AT, "Enabled": True}
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=specification)
