"""The calls that a boto3 client sends to DynamoDB, and their text. For scripts and tests, not for the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lib.ddb.items import Item, Key, key_of
from tools.cli.tables import to_json, value_to_json
from tools.explain.item_diff import ItemChange, ItemReader, item_changes

PLACEHOLDER = re.compile(r":\w+")

_QUERY_OPTIONS = ("IndexName", "FilterExpression", "ScanIndexForward", "ConsistentRead", "ExclusiveStartKey", "Limit")
_WRITES = {"PutItem": "Put", "UpdateItem": "Update", "DeleteItem": "Delete"}


@dataclass(slots=True)
class Call:
    """A call with its arguments.

    `units` are the capacity units that it consumed, None if the engine reports none. `refusal` is the code of
    DynamoDB's error. `items` are those that a read returned, `before` and `after` the written ones, if they are read.
    """

    operation: str
    arguments: dict[str, Any]
    units: float | None = None
    refusal: str | None = None
    items: list[Item] = field(default_factory=list)
    before: dict[Key, Item | None] = field(default_factory=dict)
    after: dict[Key, Item | None] = field(default_factory=dict)

    @property
    def writes(self) -> list[tuple[str, dict[str, Any]]]:
        """The writes in their order, each as Put, Update or Delete and its arguments; empty for a read."""
        if self.operation == "TransactWriteItems":
            return [next(iter(write.items())) for write in self.arguments["TransactItems"]]
        return [(_WRITES[self.operation], self.arguments)] if self.operation in _WRITES else []


def record(
    client: Any,
    *,
    before_write: Callable[[], None] = lambda: None,
    reader: ItemReader | None = None,
) -> list[Call]:
    """A list that grows with every call of the client.

    It calls `before_write` before DynamoDB gets a call that writes. `reader` reads the written items before and after
    the call, and the items that a filter drops.
    """
    calls: list[Call] = []

    def begin(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        context["recorded"] = call = Call(model.name, dict(params))
        calls.append(call)
        if keys := [key_of(arguments.get("Key") or arguments["Item"]) for _, arguments in call.writes]:
            before_write()
            call.before = reader.read(keys) if reader else {}

    def end(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        call: Call = context["recorded"]
        call.refusal = parsed.get("Error", {}).get("Code")
        call.items = parsed.get("Items") or [item for item in [parsed.get("Item")] if item]
        if reader:
            call.after = reader.read(call.before)
            if parsed.get("ScannedCount", 0) > len(call.items):
                call.items = reader.query(unfiltered(call.arguments))
        consumed = parsed.get("ConsumedCapacity")  # of one table, or of a list of them
        if consumed:
            parts = consumed if isinstance(consumed, list) else [consumed]
            call.units = sum(part["CapacityUnits"] for part in parts)

    client.meta.events.register("provide-client-params.dynamodb", begin)
    client.meta.events.register("after-call.dynamodb", end)
    return calls


def changes(calls: Iterable[Call]) -> list[ItemChange]:
    """The items that these calls, recorded with a reader, changed together."""
    before: dict[Key, Item | None] = {}
    after: dict[Key, Item | None] = {}
    for call in calls:
        before = call.before | before
        after |= call.after
    return item_changes(before, after)


def unfiltered(query: Mapping[str, Any]) -> dict[str, Any]:
    """A Query without its filter, and without a report of its units."""
    left_out = ("FilterExpression", "ReturnConsumedCapacity")
    arguments = {name: value for name, value in query.items() if name not in left_out}
    values = query["ExpressionAttributeValues"]
    used = PLACEHOLDER.findall(query["KeyConditionExpression"])
    return arguments | {"ExpressionAttributeValues": {name: values[name] for name in used}}


def filled(expression: str, arguments: Mapping[str, Any]) -> str:
    """An expression with the values of its call in place."""
    values = arguments.get("ExpressionAttributeValues", {})
    return PLACEHOLDER.sub(lambda match: value_to_json(values[match[0]]), expression)


def read_options(arguments: Mapping[str, Any]) -> str:
    """The arguments that shape the response to a read, except its key."""
    options = ((name, arguments[name]) for name in _QUERY_OPTIONS if name in arguments)
    return ", ".join(
        f"{name}={to_json(value) if isinstance(value, dict) else filled(str(value), arguments)}"
        for name, value in options
    )


def describe_query(query: Mapping[str, Any]) -> str:
    """A Query as one line: its key condition, then its options."""
    condition = filled(query["KeyConditionExpression"], query)
    return f"Query {query['TableName']}: {', '.join(filter(None, [condition, read_options(query)]))}"
