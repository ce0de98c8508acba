"""The feed: the conversations of an inbox that changed since an earlier read, each change once.

A change is a message: it moves the conversation's row to a later sort key. So a change usually appears above the rows
that a client has. But sort keys come from the clocks of many servers, and a row is visible only after its commit. So a
change can also appear below these rows:

    sort keys             floor ┄┄┄┄┄┄ window ┄┄┄┄┄┄ now
    first read        A     ┊      B         C        ┊                 F    from a server whose clock was wrong
    second read       A     ┊      B    x    C        ┊  D              F    x: has an earlier key than C, commits later
                            └─ read again ─────────────────────────────────►  returns x and D, but not B, C and F again

- A read returns all rows above the floor whose hashes are not in the cursor. So it returns no change twice, and it
  misses only a change that appears below the floor.
- The floor stays at least one window behind the server's clock. So no read misses a change that is committed within a
  window. The floor never rises above the last row that was read. So a later read finds any change above that row, even
  if its time is wrong.
- A Query is no snapshot. If it shows a row at its old and its new place, the read returns it at its new place. If it
  shows the row at neither place, the next read returns it like a late commit.
- A cursor holds `MAX_HASHES` hashes. If more rows change within a window, the floor rises, at most to the present, and
  the window shrinks. Rows ahead of the clock never raise the floor: a read returns them when the cursor has room, or
  when their time comes.
- A row may change long after its time, for example in stream mode. Such a change counts in the user's late updates, an
  item that stands above all rows (lib/ddb/inbox_rows.py). A read to the end sees it. If the count is not the cursor's,
  the read fails: FeedGap. A cursor from a page of messages has no count. It has a time, and any later update is a gap.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from lib.clock import to_timestamp
from lib.ddb import keys
from lib.ddb.errors import FeedGap
from lib.ddb.items import InboxRow, Item, LateUpdates, Message, parse_item
from lib.ddb.table import Table

MAX_HASHES = 160  # so that Feed-Cursor and Link stay below 4 KB, a usual limit of proxies for response headers
_HASH_BYTES = 6


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """How far a client has read: all rows up to `floor`, and above it the rows with these hashes.

    `late_updates` is the user's count of late updates at the first read, or a time before all that the client missed.
    """

    floor: str
    hashes: tuple[bytes, ...] = ()
    late_updates: int | str = 0

    def to_payload(self) -> list[Any]:
        return [self.floor, b64encode(b"".join(self.hashes)).decode(), self.late_updates]

    @classmethod
    def from_payload(cls, payload: Sequence[Any]) -> FeedPosition:
        floor, hashes, *late_updates = payload  # an earlier version of the server wrote no count
        joined = b64decode(hashes)
        starts = range(0, len(joined), _HASH_BYTES)
        return cls(floor, tuple(joined[start : start + _HASH_BYTES] for start in starts), *late_updates)


def after_inbox(newest: Sequence[InboxRow], *, now: datetime, window: timedelta, late_updates: int = 0) -> FeedPosition:
    """The position after the first page of an inbox, newest first. After an empty page, every later row is new."""
    return _advance(FeedPosition("", late_updates=late_updates), newest[::-1], (), now - window)


def after_messages(newest: Sequence[Message], *, now: datetime, window: timedelta) -> FeedPosition:
    """The position after a page of messages: the newest message has the time of the conversation's row."""
    floor = to_timestamp(now - window)
    above = (message for message in newest[:1] if message.created_at > floor)
    hashes = tuple(_hash(message.created_at, message.group_uuid, message.seq) for message in above)
    return FeedPosition(floor, hashes, late_updates=floor)


def read(
    table: Table, pk: str, since: FeedPosition, *, limit: int, now: datetime, window: timedelta
) -> tuple[list[InboxRow], FeedPosition, bool]:
    """Up to `limit` changed rows of the inbox `pk`, oldest first; the position after them; and whether there are more.

    `now` is a time before the read. Sends one Query, or several to read past 1 MB or past rows ahead of the clock.
    Raises FeedGap.
    """
    rows = _rows_above(since, table, pk, page_size=_page_size(since, limit))
    return _select(rows, since, limit=limit, now=now, window=window)


def read_singly(
    table: Table, pk: str, since: FeedPosition, *, limit: int, now: datetime, window: timedelta
) -> tuple[list[tuple[InboxRow, FeedPosition]], FeedPosition, bool]:
    """Like `read`, with the position after each row, as if the rows came from reads of one row each."""
    source = _rows_above(since, table, pk, page_size=_page_size(since, limit))
    rows: list[InboxRow] = []
    changes: list[tuple[InboxRow, FeedPosition]] = []

    def replay() -> Iterator[InboxRow]:
        yield from tuple(rows)
        for row in source:
            rows.append(row)
            yield row

    more = True
    while more and len(changes) < limit:
        changed, since, more = _select(replay(), since, limit=1, now=now, window=window)
        changes += [(row, since) for row in changed]
    return changes, since, more


def _page_size(since: FeedPosition, limit: int) -> int:
    return limit + len(since.hashes) + 1


def _select(
    rows: Iterable[InboxRow], since: FeedPosition, *, limit: int, now: datetime, window: timedelta
) -> tuple[list[InboxRow], FeedPosition, bool]:
    """What `read` returns, from rows in the order of their keys. Reads only as far as it must."""
    now_key, client_hashes = to_timestamp(now), set(since.hashes)
    rows_by_hash: dict[bytes, InboxRow] = {}
    new_rows: list[InboxRow] = []
    more = False
    for row in rows:
        if row.last_message_at <= since.floor:
            continue
        row_hash = _row_hash(row)
        if row_hash not in client_hashes:
            if row.last_message_at > now_key and len(client_hashes) + len(new_rows) >= MAX_HASHES:
                continue
            if len(new_rows) == limit:
                more = True
                break
            new_rows.append(row)
        rows_by_hash[row_hash] = row
    # A read to the end misses only hashes of rows that have changed again.
    unread_hashes = [row_hash for row_hash in since.hashes if row_hash not in rows_by_hash] if more else []
    last_row = {row.group_uuid: row for row in rows_by_hash.values()}
    changed_rows = [row for row in new_rows if row is last_row[row.group_uuid]]
    return changed_rows, _advance(since, list(rows_by_hash.values()), unread_hashes, now - window), more


def _rows_above(since: FeedPosition, table: Table, pk: str, *, page_size: int) -> Iterator[InboxRow]:
    floor, more = since.floor, True
    while more:
        items, more = table.oldest(pk, limit=page_size, after=floor or None)
        for item in items:
            floor = item["sk"]["S"]
            if floor == keys.LATE_UPDATES:
                _check_late_updates(since, item)
            elif row := parse_item(item, InboxRow.from_item):
                yield row


def _check_late_updates(since: FeedPosition, item: Item) -> None:
    """Raise FeedGap if a row may have changed below the position's floor."""
    expected, current = since.late_updates, parse_item(item, LateUpdates.from_item)
    if current and (current.updated_at > expected if isinstance(expected, str) else current.count != expected):
        raise FeedGap


def _advance(
    since: FeedPosition, rows: Sequence[InboxRow], unread_hashes: Sequence[bytes], window_start: datetime
) -> FeedPosition:
    """The position after `rows`, lowest key first. Rows with `unread_hashes` may stand above the last of `rows`."""
    highest = rows[-1].last_message_at if rows else since.floor
    floor = max(since.floor, min(highest, to_timestamp(window_start)))
    rows_above = [row for row in rows if row.last_message_at > floor]
    if (excess := len(rows_above) + len(unread_hashes) - MAX_HASHES) > 0:
        floor = rows_above[excess - 1].last_message_at
    hashes = [_row_hash(row) for row in rows_above if row.last_message_at > floor]
    return FeedPosition(floor, (*hashes, *unread_hashes), since.late_updates)


def _row_hash(row: InboxRow) -> bytes:
    return _hash(row.last_message_at, row.group_uuid, row.seq)


def _hash(last_message_at: str, group_uuid: str, seq: int | None) -> bytes:
    """`seq` too, because a late message raises it where the row stands."""
    return blake2b(f"{last_message_at} {group_uuid} {seq}".encode(), digest_size=_HASH_BYTES).digest()
