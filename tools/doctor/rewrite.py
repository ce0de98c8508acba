"""The doctor's conditional writes: a rewrite overwrites nothing that another writer changed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from lib.ddb.errors import WriteRefused
from lib.ddb.items import Item, wire_key
from lib.ddb.table import Table, Write, put

_WRITES_PER_TRANSACTION = 100


def rewrite(before: Item | None, after: Item | None) -> Write:
    """Turn the item `before` into `after`; None stands for no item.

    Fails with WriteRefused unless every attribute in `before` is unchanged. Writes only the attributes that differ.
    """
    if before is None:
        return put(after or {}, WriteRefused)
    marks = {name: f"#{number}" for number, name in enumerate({**before, **(after or {})})}
    request: dict[str, Any] = {
        "Key": wire_key(before),
        "ConditionExpression": " AND ".join(
            f"{mark} = :old{mark[1:]}" if name in before else f"attribute_not_exists({mark})"
            for name, mark in marks.items()
        ),
        "ExpressionAttributeNames": {mark: name for name, mark in marks.items()},
        "ExpressionAttributeValues": {f":old{marks[name][1:]}": value for name, value in before.items()},
    }
    if after is None:
        return Write({"Delete": request}, WriteRefused)
    new = {name: value for name, value in after.items() if value != before.get(name)}
    actions = {
        "SET": [f"{marks[name]} = :new{marks[name][1:]}" for name in new],
        "REMOVE": [marks[name] for name in before if name not in after],
    }
    request["UpdateExpression"] = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in actions.items() if parts)
    request["ExpressionAttributeValues"] |= {f":new{marks[name][1:]}": value for name, value in new.items()}
    return Write({"Update": request}, WriteRefused)


def write_all(table: Table, writes: Iterable[Write]) -> None:
    """Make the writes in their order, up to 100 in a transaction."""
    remaining = iter(writes)
    while batch := list(islice(remaining, _WRITES_PER_TRANSACTION)):
        table.transact(batch)
