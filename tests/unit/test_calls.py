"""Recorded calls: what was asked for, what it cost, and what it changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from lib.ddb.items import Item, key_of
from tools.explain import recorder
from tools.explain.item_diff import Change, changes
from tools.explain.recorder import Call, Items, Units, record

TABLE = "messages"


@pytest.fixture
def client() -> Iterator[Any]:
    made = boto3.client("dynamodb")
    yield made
    made.close()


def item(pk: str, sk: str, **attributes: Any) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}, **attributes}


def test_what_dynamodb_had_no_capacity_for_is_asked_for_again(client: Any) -> None:
    first, second = item("a", "1"), item("a", "2")
    request = {TABLE: {"Keys": [first, second], "ConsistentRead": True}}
    rest = {TABLE: {"Keys": [second], "ConsistentRead": True}}
    with Stubber(client) as stub:
        stub.add_response(
            "batch_get_item", {"Responses": {TABLE: [first]}, "UnprocessedKeys": rest}, {"RequestItems": request}
        )
        stub.add_response(
            "batch_get_item", {"Responses": {TABLE: [second]}, "UnprocessedKeys": {}}, {"RequestItems": rest}
        )
        found = recorder.items(client, TABLE, [("a", "1"), ("a", "2")])
    assert found == {("a", "1"): first, ("a", "2"): second}


def test_the_parts_of_the_capacity_are_asked_for_where_the_code_asks_for_it(client: Any) -> None:
    recorded = record(client)
    consumed = {
        "TableName": TABLE,
        "CapacityUnits": 5.0,
        "Table": {"CapacityUnits": 3.0},
        "GlobalSecondaryIndexes": {"one": {"CapacityUnits": 2.0}},
    }
    put = {"TableName": TABLE, "Item": item("a", "1")}
    with Stubber(client) as stub:
        stub.add_response("put_item", {"ConsumedCapacity": consumed}, {**put, "ReturnConsumedCapacity": "INDEXES"})
        stub.add_response("put_item", {}, put)
        client.put_item(**put, ReturnConsumedCapacity="TOTAL")
        client.put_item(**put)
    assert [call.units for call in recorded] == [Units(table=3, index=2), None]
    assert [call.arguments for call in recorded] == [{**put, "ReturnConsumedCapacity": "TOTAL"}, put]


def test_a_refused_write_has_its_code_and_is_looked_at_like_any_other(client: Any) -> None:
    looks: list[Any] = []

    def look(keys: Any) -> Items:
        looks.append(keys)
        return {("a", "1"): item("a", "1", n={"N": f"{len(looks)}"})}

    recorded = record(client, look=look)
    with Stubber(client) as stub:
        stub.add_client_error("put_item", "ConditionalCheckFailedException")
        with pytest.raises(ClientError):
            client.put_item(TableName=TABLE, Item=item("a", "1"))
        stub.add_response("get_item", {})
        client.get_item(TableName=TABLE, Key=item("a", "1"))
    put, get = recorded
    assert (put.refusal, put.units, get.refusal) == ("ConditionalCheckFailedException", None, None)
    assert looks == [[("a", "1")]] * 2
    assert (put.before[("a", "1")]["n"], put.after[("a", "1")]["n"]) == ({"N": "1"}, {"N": "2"})


def transaction(before: list[Item], after: list[Item], *keys: tuple[str, str]) -> Call:
    """A transaction on these keys, which found and left these items."""
    writes = [{"Delete": {"TableName": TABLE, "Key": item(*key)}} for key in keys]
    made = Call("TransactWriteItems", {"TransactItems": writes})
    made.before, made.after = ({key_of(each): each for each in side} for side in (before, after))
    return made


def test_an_item_that_leaves_its_place_for_another_in_its_partition_has_moved() -> None:
    old, new = item("a", "1", n={"N": "1"}, same={"S": "x"}), item("a", "2", n={"N": "2"}, same={"S": "x"})
    [change] = changes([transaction([old], [new], ("a", "1"), ("a", "2"))])
    assert change == Change(old, new)
    assert change.attributes == [("sk", '"1"', '"2"'), ("n", "1", "2")]
    assert change.unchanged == ["same"]


def test_items_of_different_partitions_have_not_moved() -> None:
    old, new = item("a", "1"), item("b", "1")
    assert changes([transaction([old], [new], ("a", "1"), ("b", "1"))]) == [Change(None, new), Change(old, None)]


def test_the_first_look_before_and_the_last_after_count() -> None:
    states = [item("a", "1", n={"N": f"{n}"}) for n in range(3)]
    steps = [transaction([old], [new], ("a", "1")) for old, new in zip(states, states[1:], strict=False)]
    [change] = changes(steps)
    assert change.attributes == [("n", "0", "2")]
    assert changes([transaction([states[0]], [states[0]], ("a", "1"))]) == []


def test_a_map_differs_in_its_elements_and_a_missing_value_is_none() -> None:
    def with_members(**counts: str) -> Item:
        return item("a", "1", members={"M": {name: {"M": {"n": {"N": n}}} for name, n in counts.items()}})

    [change] = changes([transaction([with_members(x="1", y="1")], [with_members(x="2", z="1")], ("a", "1"))])
    assert change.attributes == [
        ("members.x.n", "1", "2"),
        ("members.y", '{"n": 1}', None),
        ("members.z", None, '{"n": 1}'),
    ]
