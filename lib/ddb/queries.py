"""Pages of a partition: the newest items, those after a cursor, or those around a time. Knows only sort keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from lib.ddb.cursors import CursorSigner
from lib.ddb.items import Item
from lib.ddb.table import Table

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list. `next` and `prev` are the query arguments of the adjacent pages, None if there is no such page.

    `next` continues in the direction of the request, `prev` leads back. A page by `cursor` has no `feed_cursor`: the
    client has one from the first page.
    """

    items: list[T]
    next: dict[str, str] | None = None
    prev: dict[str, str] | None = None
    feed_cursor: str | None = None

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page; None on the last page."""
        return (self.next or {}).get("cursor")


class PageReader:
    """Reads the pages of one table's partitions, highest sort key first. Every method raises StoreUnavailable."""

    def __init__(self, table: Table, cursors: CursorSigner) -> None:
        self._table = table
        self._cursors = cursors

    def newest(self, pk: str, limit: int, cursor: str | None) -> Page[Item]:
        """The items below the cursor's position, or the highest ones. Raises CursorInvalid."""
        position = None if cursor is None else str(self._cursors.verify("cursor", cursor, pk=pk))
        items, more = self._table.newest(pk, limit=limit, before=position)
        return Page(items, {"cursor": self._cursors.sign("cursor", _sk(items[-1]), pk=pk)} if more else None)

    def before(self, pk: str, limit: int, position: str) -> Page[Item]:
        """The items right below a sort key."""
        items, more = self._table.newest(pk, limit=limit, before=position)
        return Page(items, {"before": _sk(items[-1])} if more else None)

    def after(self, pk: str, limit: int, position: str) -> Page[Item]:
        """The items right above a sort key."""
        items, more = self._table.oldest(pk, limit=limit, after=position)
        return Page(items[::-1], {"after": _sk(items[-1])} if more else None)

    def around(self, pk: str, limit: int, position: str) -> Page[Item]:
        """The items on both sides of a sort key, and the item with this key."""
        newer, has_newer = self._table.oldest(pk, limit=limit // 2, after=position)
        # `position + "\0"` is the least string above `position`, so the page includes the item at `position`.
        older = self.before(pk, limit - len(newer), position + "\0")
        newest = _sk(newer[-1]) if newer else position
        return replace(older, items=newer[::-1] + older.items, prev={"after": newest} if has_newer else None)


def _sk(item: Item) -> str:
    sk: str = item["sk"]["S"]
    return sk
