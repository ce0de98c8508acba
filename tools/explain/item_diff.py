"""The items of a table before and after the calls that write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lib.ddb.items import Item, Key
from tools.cli.tables import key_first, value_to_json

Items = Mapping[Key, Item | None]
"""Items by their keys; None for a key without an item."""


@dataclass(frozen=True, slots=True)
class ItemChange:
    """An item that was created (no `before`), removed (no `after`), changed, or moved to another sort key."""

    before: Item | None
    after: Item | None

    @property
    def attributes(self) -> list[tuple[str, str | None, str | None]]:
        """The attributes that differ: name, and values before and after as JSON, None for a missing one.

        The sort key of a moved item differs. A map differs in its elements.
        """
        return list(_differences(self.before or {}, self.after or {}))


@dataclass(frozen=True, slots=True)
class ItemReader:
    """Reads items of one table."""

    client: Any
    table: str

    def read(self, keys: Iterable[Key]) -> dict[Key, Item | None]:
        """The items of these keys now."""
        return {key: self._read(key) for key in keys}

    def query(self, arguments: Mapping[str, Any]) -> list[Item]:
        """The items of one page of a Query."""
        items: list[Item] = self.client.query(**arguments)["Items"]
        return items

    def _read(self, key: Key) -> Item | None:
        attributes = {"pk": {"S": key[0]}, "sk": {"S": key[1]}}
        response: dict[str, Item] = self.client.get_item(TableName=self.table, Key=attributes, ConsistentRead=True)
        return response.get("Item")


def item_changes(before: Items, after: Items) -> list[ItemChange]:
    """The items that differ. A removed item and a created one in the same partition count as one that has moved."""
    changes = []
    removed = [key for key in before if before[key] and not after[key]]
    for key, new in after.items():
        old = before[key]
        if new and not old and (origin := next((other for other in removed if other[0] == key[0]), None)):
            removed.remove(origin)
            old = before[origin]
        if new and new != old:
            changes.append(ItemChange(old, new))
    return changes + [ItemChange(before[key], None) for key in removed]


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
