"""What a client sends to DynamoDB, call by call: arguments, consumed capacity, and the items before and after a write.

Hooks of the client record it, so nothing here is said twice. For the scripts that explain; not for the API.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.ddb.items import Item, Key, key_of

Items = dict[Key, Item]
"""Items by their keys; what is not there is missing."""

_WRITES = {"PutItem": "Put", "UpdateItem": "Update", "DeleteItem": "Delete"}


@dataclass(frozen=True, slots=True)
class Units:
    """Capacity units that a call consumed, at the table itself and at its indexes."""

    table: float
    index: float


@dataclass(slots=True)
class Call:
    """A call as the code made it; `refusal` is DynamoDB's code where it was refused.

    `units` is None where the engine does not report them, as for refused calls. `before` and `after` hold the items
    that it writes, if somebody looks.
    """

    operation: str
    arguments: dict[str, Any]
    units: Units | None = None
    refusal: str | None = None
    before: Items = field(default_factory=dict)
    after: Items = field(default_factory=dict)

    @property
    def writes(self) -> list[tuple[str, dict[str, Any]]]:
        """Its writes in their order: Put, Update or Delete, and the arguments; none of a call that reads."""
        if self.operation == "TransactWriteItems":
            return [next(iter(write.items())) for write in self.arguments["TransactItems"]]
        return [(_WRITES[self.operation], self.arguments)] if self.operation in _WRITES else []

    @property
    def keys(self) -> list[Key]:
        """The keys of the items that it writes."""
        return [key_of(arguments.get("Key") or arguments["Item"]) for _, arguments in self.writes]


def record(client: Any, *, look: Callable[[Sequence[Key]], Items] | None = None) -> list[Call]:
    """Every call that the client makes from now on; the list grows.

    Where the code asks for a call's capacity, the parts of it are asked for. `look` reads the items of the keys that
    are given to it, before and after each call that writes.
    """
    calls: list[Call] = []

    def begin(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> dict[str, Any]:
        call = Call(model.name, dict(params))
        if look and call.keys:
            call.before = look(call.keys)
        calls.append(call)
        context["recorded"] = call
        return params | ({"ReturnConsumedCapacity": "INDEXES"} if "ReturnConsumedCapacity" in params else {})

    def end(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        call: Call = context["recorded"]
        call.refusal = parsed.get("Error", {}).get("Code")
        call.units = _units(parsed.get("ConsumedCapacity"))
        if look and call.keys:
            call.after = look(call.keys)

    client.meta.events.register("provide-client-params.dynamodb", begin)
    client.meta.events.register("after-call.dynamodb", end)
    return calls


def items(client: Any, table: str, keys: Sequence[Key]) -> Items:
    """The items that are there of up to 100 keys, strongly consistent."""
    wanted = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in keys]
    request: dict[str, Any] = {table: {"Keys": wanted, "ConsistentRead": True}}
    found: Items = {}
    while request:  # what DynamoDB had no capacity for is asked for again
        answer = client.batch_get_item(RequestItems=request)
        found |= {key_of(item): item for item in answer["Responses"][table]}
        request = answer["UnprocessedKeys"]
    return found


def _units(consumed: Any) -> Units | None:
    """What an answer says: of one table, or of a list of them."""
    parts = consumed if isinstance(consumed, list) else [consumed] if consumed else []
    if not parts:
        return None
    total = sum(part["CapacityUnits"] for part in parts)
    indexes = [index for part in parts for index in part.get("GlobalSecondaryIndexes", {}).values()]
    at_indexes = sum(index["CapacityUnits"] for index in indexes)
    return Units(total - at_indexes, at_indexes)
