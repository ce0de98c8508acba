"""The doctor's conditional writes: a rewrite overwrites nothing that another writer changed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from lib.ddb.errors import WriteRefused
from lib.ddb.items import Item, wire_key
from lib.ddb.table import MAX_WRITES, Table, Write, put


def rewrite(before: Item | None, after: Item | None) -> Write:
    """Turn the item `before` into `after`; None stands for no item.

    Fails with WriteRefused unless every attribute in `before` is unchanged. Writes only the attributes that differ.
    """
    if before is None:
        return put(after or {}, WriteRefused)
    numbers = {name: number for number, name in enumerate({**before, **(after or {})})}
    request: dict[str, Any] = {
        "Key": wire_key(before),
        "ConditionExpression": " AND ".join(
            f"#{number} = :old{number}" if name in before else f"attribute_not_exists(#{number})"
            for name, number in numbers.items()
        ),
        "ExpressionAttributeNames": {f"#{number}": name for name, number in numbers.items()},
        "ExpressionAttributeValues": {f":old{numbers[name]}": value for name, value in before.items()},
    }
    if after is None:
        return Write({"Delete": request}, WriteRefused)
    new = {numbers[name]: value for name, value in after.items() if value != before.get(name)}
    removed = [numbers[name] for name in before if name not in after]
    sets = f"SET {', '.join(f'#{number} = :new{number}' for number in new)}" if new else ""
    removes = f"REMOVE {', '.join(f'#{number}' for number in removed)}" if removed else ""
    request["UpdateExpression"] = f"{sets} {removes}".strip()
    request["ExpressionAttributeValues"] |= {f":new{number}": value for number, value in new.items()}
    return Write({"Update": request}, WriteRefused)


def write_all(table: Table, writes: Iterable[Write]) -> None:
    """Make the writes in their order, as many in a transaction as DynamoDB allows."""
    remaining = iter(writes)
    while batch := list(islice(remaining, MAX_WRITES)):
        table.transact(batch)
