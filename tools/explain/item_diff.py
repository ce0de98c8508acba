"""What calls did to the table: each item that they wrote, before the first of them and after the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lib.ddb.items import Item, Key
from tools.cli.tables import key_first, value_to_json
from tools.explain.recorder import Call


@dataclass(frozen=True, slots=True)
class Change:
    """An item that was made (no `before`), removed (no `after`), changed, or moved to another sort key."""

    before: Item | None
    after: Item | None

    @property
    def pk(self) -> str:
        pk: str = (self.after or self.before or {})["pk"]["S"]
        return pk

    @property
    def attributes(self) -> list[tuple[str, str | None, str | None]]:
        """What differs: an attribute's name, its value as JSON before and after, None where it is not there.

        A moved item differs in its sort key. A map that was there differs in its elements.
        """
        return list(_differences(self.before or {}, self.after or {}))

    @property
    def unchanged(self) -> list[str]:
        """The names of attributes that are as before, other than the key."""
        before, after = self.before or {}, self.after or {}
        same = [name for name in before if name in after and before[name] == after[name]]
        return sorted(set(same) - {"pk", "sk"})


def changes(calls: Sequence[Call]) -> list[Change]:
    """The items that differ, those of the last call first.

    An item that is removed and one that is made in its partition are one that has moved.
    """
    before: dict[Key, Item | None] = {}
    after: dict[Key, Item | None] = {}
    for call in calls:
        for key in call.keys:
            before.setdefault(key, call.before.get(key))
            after[key] = call.after.get(key)
    order = dict.fromkeys(key for call in reversed(calls) for key in call.keys)
    removed = [key for key in order if before[key] and not after[key]]
    found = []
    for key in order:
        if before[key] == after[key] or key in removed:
            continue
        origin = next((each for each in removed if each[0] == key[0]), None) if not before[key] else None
        if origin:
            removed.remove(origin)
        found.append(Change(before[origin or key], after[key]))
    return found + [Change(before[key], None) for key in removed]


def _differences(
    before: dict[str, Any], after: dict[str, Any], path: str = ""
) -> Iterator[tuple[str, str | None, str | None]]:
    for name in sorted({*before, *after}, key=key_first):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if old and new and "M" in old and "M" in new:
            yield from _differences(old["M"], new["M"], f"{path}{name}.")
        else:
            yield f"{path}{name}", value_to_json(old) if old else None, value_to_json(new) if new else None
