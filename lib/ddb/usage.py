"""What the current request costs at DynamoDB: the tries sent and the capacity units consumed."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Usage:
    """Running totals. `requests` counts every try that leaves the process, retries included."""

    requests: int = 0
    capacity_units: float = 0.0


_current: ContextVar[Usage] = ContextVar("dynamodb_usage")


def start_metering() -> Usage:
    """Count from zero in this context (a request, a script) and return the totals, which grow as calls are made."""
    usage = Usage()
    _current.set(usage)
    return usage


def meter(client: Any) -> None:
    """Make a client report each of its tries, and what each call consumed, to the context that made it."""
    client.meta.events.register("before-send.dynamodb", _count_try)
    client.meta.events.register("after-call.dynamodb", _add_capacity)


def _count_try(**_: Any) -> None:
    if usage := _current.get(None):
        usage.requests += 1


def _add_capacity(parsed: dict[str, Any], **_: Any) -> None:
    if usage := _current.get(None):
        consumed = parsed.get("ConsumedCapacity", [])
        for part in consumed if isinstance(consumed, list) else [consumed]:
            usage.capacity_units += part["CapacityUnits"]
