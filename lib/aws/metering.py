"""The cost of the current request at DynamoDB: its tries and its capacity units."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

_WRITES = frozenset({"BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"})


@dataclass(slots=True)
class Usage:
    """Running totals. `requests` counts every try that the process sends, retries included."""

    requests: int = 0
    read_units: float = 0.0
    write_units: float = 0.0

    @property
    def capacity_units(self) -> float:
        """Read and write units together, for scripts."""
        return self.read_units + self.write_units


_current: ContextVar[Usage] = ContextVar("dynamodb_usage")


def start_metering() -> Usage:
    """Count from zero in this context (a request, a script). Each call adds to the returned totals."""
    usage = Usage()
    _current.set(usage)
    return usage


def count_request() -> None:
    """Count one try."""
    if usage := _current.get(None):
        usage.requests += 1


def count_units(operation: str, response: dict[str, Any]) -> None:
    """Count the units that a response reports."""
    if usage := _current.get(None):
        consumed = response.get("ConsumedCapacity", [])
        units = sum(part["CapacityUnits"] for part in (consumed if isinstance(consumed, list) else [consumed]))
        if operation in _WRITES:
            usage.write_units += units
        else:
            usage.read_units += units


def meter(client: Any) -> None:
    """Make a boto3 client count its tries and units, as the API's own client does."""
    client.meta.events.register("before-send.dynamodb", lambda **_: count_request())
    client.meta.events.register("after-call.dynamodb", lambda parsed, model, **_: count_units(model.name, parsed))
