"""The calls that a boto3 client sends to DynamoDB, recorded by its hooks. For scripts and tests, not for the API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lib.ddb.items import Key, key_of

_WRITES = {"PutItem": "Put", "UpdateItem": "Update", "DeleteItem": "Delete"}


@dataclass(slots=True)
class Call:
    """A call as the code made it.

    `units` are the capacity units that it consumed, None where the engine reports none. `refusal` is the code of
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
    """Every call that the client makes from now on; the list grows.

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
