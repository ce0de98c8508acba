"""The conditional rewrite of one item: the doctor never overwrites a concurrent change."""

from __future__ import annotations

from typing import Any

from lib.ddb.errors import WriteRefused
from lib.ddb.items import Item, wire_key
from lib.ddb.table import ABSENT, Write, check, put

_STATE = ("version", "last_message_at")
_IDENTITY = ("user_uuid", "message_group_uuid", "group_uuid")
"""The attributes that identify an item; an item has some of them."""


def rewrite(before: Item | None, after: Item | None) -> Write:
    """Write the attributes that differ between `before` and `after`; None stands for no item.

    A state must still have the version in `before`; any other item must have the same identity and the same old values
    of the changed attributes. Fails with WriteRefused.
    """
    if before is None:
        return put(after or {}, WriteRefused)
    changed = [name for name in before | after if before.get(name) != after.get(name)] if after else []
    compared = _STATE if "version" in before else dict.fromkeys((*_IDENTITY, *changed))
    known = [name for name in compared if name in before]
    absent = [name for name in changed if name not in before]
    conditions = [f"{name} = :old_{name}" for name in known] + [f"attribute_not_exists({name})" for name in absent]
    request: dict[str, Any] = {
        "Key": wire_key(before),
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeValues": {f":old_{name}": before[name] for name in known},
    }
    if after is None:
        return Write({"Delete": request}, WriteRefused)
    if not changed:
        return Write({"ConditionCheck": request}, WriteRefused)
    new = [name for name in changed if name in after]
    removed = [name for name in changed if name not in after]
    sets = f"SET {', '.join(f'{name} = :new_{name}' for name in new)}" if new else ""
    removes = f"REMOVE {', '.join(removed)}" if removed else ""
    request["UpdateExpression"] = f"{sets} {removes}".strip()
    request["ExpressionAttributeValues"] |= {f":new_{name}": after[name] for name in new}
    return Write({"Update": request}, WriteRefused)


def is_absent(key: Item) -> Write:
    """The condition that no item has this key."""
    return check(key, WriteRefused, when=ABSENT)
