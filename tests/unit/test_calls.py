"""Recorded calls, their text, and the items that they change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from lib.ddb.items import Item
from tools.explain.item_diff import ItemChange, ItemReader, item_changes
from tools.explain.recorder import changes, describe_query, filled, record

KEY = {"pk": {"S": "a"}, "sk": {"S": "1"}}


@pytest.fixture
def client() -> Iterator[Any]:
    client = boto3.client("dynamodb")
    yield client
    client.close()


def item(pk: str, sk: str, **attributes: Any) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}, **attributes}


def test_call_has_its_units_and_its_refusal(client: Any) -> None:
    calls = record(client)
    consumed = [{"CapacityUnits": 3.0}, {"CapacityUnits": 2.0}]
    with Stubber(client) as stub:
        stub.add_response("transact_write_items", {"ConsumedCapacity": consumed})
        stub.add_response("get_item", {"ConsumedCapacity": consumed[0]})
        stub.add_response("get_item", {})
        stub.add_client_error("put_item", "ConditionalCheckFailedException")
        client.transact_write_items(TransactItems=[{"Delete": {"TableName": "messages", "Key": KEY}}])
        for _ in range(2):
            client.get_item(TableName="messages", Key=KEY)
        with pytest.raises(ClientError):
            client.put_item(TableName="messages", Item=KEY)
    assert [call.units for call in calls] == [5, 3, None, None]
    assert [call.refusal for call in calls] == [None, None, None, "ConditionalCheckFailedException"]
    assert [[action for action, _ in call.writes] for call in calls] == [["Delete"], [], [], ["Put"]]


def test_change_begins_before_the_first_write_and_ends_after_the_last(client: Any) -> None:
    calls = record(client, reader=ItemReader(reader := boto3.client("dynamodb"), "messages"))
    read = {"TableName": "messages", "Key": KEY, "ConsistentRead": True}
    with Stubber(client) as stub, Stubber(reader) as reads:
        for before, after in (("0", "1"), ("1", "2")):
            for number in (before, after):
                reads.add_response("get_item", {"Item": item("a", "1", n={"N": number})}, read)
            stub.add_response("update_item", {})
            client.update_item(TableName="messages", Key=KEY)
    reader.close()
    [change] = changes(calls)
    assert change.attributes == [("n", "0", "2")]


def test_item_moves_within_its_partition_only() -> None:
    old, new = item("a", "1", n={"N": "1"}, same={"S": "x"}), item("a", "2", n={"N": "2"}, same={"S": "x"})
    [change] = item_changes({("a", "1"): old, ("a", "2"): None}, {("a", "1"): None, ("a", "2"): new})
    assert change == ItemChange(old, new)
    assert change.attributes == [("sk", '"1"', '"2"'), ("n", "1", "2")]
    other = item("b", "1")
    before, after = {("a", "1"): old, ("b", "1"): None}, {("a", "1"): None, ("b", "1"): other}
    assert item_changes(before, after) == [ItemChange(None, other), ItemChange(old, None)]
    assert item_changes(before, before) == []


def test_map_differs_in_its_elements_and_a_missing_value_is_none() -> None:
    old, new = (
        item("a", "1", members={"M": {name: {"M": {"n": {"N": n}}} for name, n in counts.items()}})
        for counts in ({"x": "1", "y": "1"}, {"x": "2", "z": "1"})
    )
    assert ItemChange(old, new).attributes == [
        ("members.x.n", "1", "2"),
        ("members.y", '{"n": 1}', None),
        ("members.z", None, '{"n": 1}'),
    ]


def test_placeholders_with_the_same_beginning_keep_their_values() -> None:
    values = {":at": {"S": "noon"}, ":at_known": {"N": "7"}, ":m": {"M": {"a": {"S": '"\x1b"'}}}}
    expression = "SET at = :at, known = :at_known, m = :m"
    assert filled(expression, {"ExpressionAttributeValues": values}) == (
        r'SET at = "noon", known = 7, m = {"a": "\"\u001b\""}'
    )


def test_query_is_one_line_with_all_its_options() -> None:
    query = {
        "TableName": "messages",
        "IndexName": "by-group",
        "KeyConditionExpression": "pk = :pk",
        "FilterExpression": "message_group_uuid = :group",
        "ExpressionAttributeValues": {":pk": {"S": "P"}, ":group": {"S": "G"}},
        "ExclusiveStartKey": {"sk": {"S": "1"}, "pk": {"S": "P"}},
        "Limit": 3,
        "ReturnConsumedCapacity": "TOTAL",
    }
    assert describe_query(query) == (
        'Query messages: pk = "P", IndexName=by-group, FilterExpression=message_group_uuid = "G", '
        'ExclusiveStartKey={"pk": "P", "sk": "1"}, Limit=3'
    )
