"""Pages of a partition: the newest items, those after a cursor, or those around a time. Knows only sort keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from lib.ddb.cursors import CursorSigner
from lib.ddb.items import Item, parse_item
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


class PageReader(Generic[T]):
    """Reads pages of one table's partitions, highest sort key first. Every method raises StoreUnavailable.

    `parse` converts an item, or returns None for an item that is not of the list. A page has no malformed item: the
    reader logs and skips it and reads on. So a page is full if others follow, and its ends are sort keys of its items.
    """

    def __init__(
        self, table: Table, cursors: CursorSigner, parse: Callable[[Item], T | None], *, other_items: int = 0
    ) -> None:
        """`other_items` of the partition are not of the list. If the number is right, a page is one Query."""
        self._table = table
        self._cursors = cursors
        self._parse = parse
        self._other_items = other_items

    def newest(self, pk: str, limit: int, cursor: str | None) -> Page[T]:
        """The items below the cursor's position, or the highest ones. Raises CursorInvalid."""
        position = None if cursor is None else str(self._cursors.verify("cursor", cursor, pk=pk))
        items, last, more = self._below(pk, limit, position)
        return Page(items, {"cursor": self._cursors.sign("cursor", last, pk=pk)} if more else None)

    def before(self, pk: str, limit: int, position: str) -> Page[T]:
        """The items right below a sort key."""
        items, last, more = self._below(pk, limit, position)
        return Page(items, {"before": last} if more else None)

    def after(self, pk: str, limit: int, position: str) -> Page[T]:
        """The items right above a sort key."""
        items, last, more = self._above(pk, limit, position)
        return Page(items[::-1], {"after": last} if more else None)

    def around(self, pk: str, limit: int, position: str) -> Page[T]:
        """The items on both sides of a sort key, and the item with this key."""
        newer, newest, has_newer = self._above(pk, limit // 2, position)
        # `position + "\0"` is the least string above `position`, so the page includes the item at `position`.
        older = self.before(pk, limit - len(newer), position + "\0")
        return replace(older, items=newer[::-1] + older.items, prev={"after": newest} if has_newer else None)

    def _below(self, pk: str, limit: int, position: str | None) -> tuple[list[T], str, bool]:
        return self._read(lambda count, end: self._table.newest(pk, limit=count, before=end), limit, position)

    def _above(self, pk: str, limit: int, position: str) -> tuple[list[T], str, bool]:
        return self._read(lambda count, end: self._table.oldest(pk, limit=count, after=end), limit, position)

    def _read(
        self, query: Callable[[int, str | None], tuple[list[Item], bool]], limit: int, position: str | None
    ) -> tuple[list[T], str, bool]:
        """Up to `limit` items from a position, the sort key of the last one, and whether others may follow."""
        page: list[T] = []
        last = position or ""
        while True:
            items, more = query(limit - len(page) + self._other_items, position)
            for item in items:
                if len(page) == limit:
                    return page, last, True
                position = item["sk"]["S"]
                if (parsed := parse_item(item, self._parse)) is not None:
                    page.append(parsed)
                    last = position
            if len(page) == limit or not (items and more):
                return page, last, more
