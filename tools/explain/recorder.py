"""The calls that a boto3 client sends to DynamoDB, and their text. For scripts and tests, not for the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.ddb.items import Key, key_of
from tools.cli.tables import to_json, value_to_json

PLACEHOLDER = re.compile(r":\w+")

_QUERY_OPTIONS = ("IndexName", "FilterExpression", "ScanIndexForward", "ConsistentRead", "ExclusiveStartKey", "Limit")
_WRITES = {"PutItem": "Put", "UpdateItem": "Update", "DeleteItem": "Delete"}


@dataclass(slots=True)
class Call:
    """A call with its arguments.

    `units` are the capacity units that it consumed, None if the engine reports none. `refusal` is the code of
    DynamoDB's error.
    """

    operation: str
    arguments: dict[str, Any]
    units: float | None = None
    refusal: str | None = None

    @property
    def writes(self) -> list[tuple[str, dict[str, Any]]]:
        """The writes in their order, each as Put, Update or Delete and its arguments; empty for a read."""
        if self.operation == "TransactWriteItems":
            return [next(iter(write.items())) for write in self.arguments["TransactItems"]]
        return [(_WRITES[self.operation], self.arguments)] if self.operation in _WRITES else []


def record(client: Any, *, before_write: Callable[[Sequence[Key]], None] | None = None) -> list[Call]:
    """A list that grows with every call of the client.

    `before_write` gets the keys of the items that a call writes, before DynamoDB gets the call.
    """
    calls: list[Call] = []

    def begin(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        context["recorded"] = call = Call(model.name, dict(params))
        calls.append(call)
        if before_write and call.writes:
            before_write([key_of(arguments.get("Key") or arguments["Item"]) for _, arguments in call.writes])

    def end(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        call: Call = context["recorded"]
        call.refusal = parsed.get("Error", {}).get("Code")
        consumed = parsed.get("ConsumedCapacity")  # of one table, or of a list of them
        if consumed:
            parts = consumed if isinstance(consumed, list) else [consumed]
            call.units = sum(part["CapacityUnits"] for part in parts)

    client.meta.events.register("provide-client-params.dynamodb", begin)
    client.meta.events.register("after-call.dynamodb", end)
    return calls


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
