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
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

from lib.clock import to_timestamp
from lib.ddb import keys
from lib.ddb.errors import FeedGap
from lib.ddb.items import InboxRow, Item, LateUpdates, Message, parse_item
from lib.ddb.table import Table

MAX_HASHES = 160  # so that Feed-Cursor and Link stay below 4 KB, a usual limit of proxies for response headers
_HASH_BYTES = 6


class _Entry(NamedTuple):
    """A row's place, and the hash that names both in a cursor. `row` is None if the cursor has this hash."""

    last_message_at: str
    group_uuid: str
    row_hash: bytes
    row: InboxRow | None

    @classmethod
    def from_item(cls, item: Item, known_hashes: Container[bytes]) -> _Entry:
        """Converts only an unknown row: a read meets most rows of the window again and again."""
        last_message_at, group_uuid = item["sk"]["S"], item["message_group_uuid"]["S"]
        row_hash = _hash(last_message_at, group_uuid, item["seq"]["N"] if "seq" in item else None)
        row = None if row_hash in known_hashes else InboxRow.from_item(item)
        return cls(last_message_at, group_uuid, row_hash, row)

    @classmethod
    def from_row(cls, row: InboxRow) -> _Entry:
        return cls(row.last_message_at, row.group_uuid, _hash(row.last_message_at, row.group_uuid, row.seq), row)


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
    entries = [_Entry.from_row(row) for row in reversed(newest)]
    return _advance(FeedPosition("", late_updates=late_updates), entries, (), now - window)


def after_messages(newest: Sequence[Message], *, now: datetime, window: timedelta) -> FeedPosition:
    """The position after a page of messages: the newest message has the time of the conversation's row."""
    floor = to_timestamp(now - window)
    above = (message for message in newest[:1] if message.created_at > floor)
    hashes = tuple(_hash(message.created_at, message.group_uuid, message.seq) for message in above)
    return FeedPosition(floor, hashes, late_updates=floor)


@dataclass(frozen=True, slots=True)
class Changes:
    """Changed rows of an inbox, oldest first, and whether there are more. Knows the position after each of them."""

    rows: list[InboxRow]
    more: bool
    _since: FeedPosition
    _entries: list[_Entry]
    _indexes: list[int]  # of `rows` in `_entries`
    _window_start: datetime

    def position_after(self, count: int) -> FeedPosition:
        """The position after the first `count` rows, as if a read had ended before the next one."""
        end = self._indexes[count] if count < len(self.rows) else len(self._entries)
        entries = self._entries[:end]
        hashes = {entry.row_hash for entry in entries}
        # A read to the end misses only hashes of rows that have changed again.
        is_whole = end == len(self._entries) and not self.more
        unread_hashes = [] if is_whole else [row_hash for row_hash in self._since.hashes if row_hash not in hashes]
        return _advance(self._since, entries, unread_hashes, self._window_start)


def read(table: Table, pk: str, since: FeedPosition, *, limit: int, now: datetime, window: timedelta) -> Changes:
    """Up to `limit` changed rows of the inbox `pk`.

    `now` is a time before the read. Sends one Query, or several to read past 1 MB or past rows ahead of the clock.
    Raises FeedGap.
    """
    now_key = to_timestamp(now)
    entries: list[_Entry] = []
    new_count, more = 0, False
    for entry in _entries_above(since, table, pk, page_size=limit + len(since.hashes) + 1):
        if entry.row:
            if entry.last_message_at > now_key and len(since.hashes) + new_count >= MAX_HASHES:
                continue
            if new_count == limit:
                more = True
                break
            new_count += 1
        entries.append(entry)
    last_index = {entry.group_uuid: index for index, entry in enumerate(entries)}
    indexes = [index for index in sorted(last_index.values()) if entries[index].row]
    rows = [row for index in indexes if (row := entries[index].row)]
    return Changes(rows, more, since, entries, indexes, now - window)


def _entries_above(since: FeedPosition, table: Table, pk: str, *, page_size: int) -> Iterator[_Entry]:
    """The entries in the order of their keys. Reads only as far as the caller iterates."""
    floor, more, hashes = since.floor, True, frozenset(since.hashes)
    while more:
        items, more = table.oldest(pk, limit=page_size, after=floor or None)
        for item in items:
            floor = item["sk"]["S"]
            if floor == keys.LATE_UPDATES:
                _check_late_updates(since, item)
            elif entry := parse_item(item, lambda item: _Entry.from_item(item, hashes)):
                yield entry


def _check_late_updates(since: FeedPosition, item: Item) -> None:
    """Raise FeedGap if a row may have changed below the position's floor."""
    expected, current = since.late_updates, parse_item(item, LateUpdates.from_item)
    if current and (current.updated_at > expected if isinstance(expected, str) else current.count != expected):
        raise FeedGap


def _advance(
    since: FeedPosition, entries: Sequence[_Entry], unread_hashes: Sequence[bytes], window_start: datetime
) -> FeedPosition:
    """The position after `entries`, lowest key first. Rows with `unread_hashes` may stand above the last of them."""
    highest = entries[-1].last_message_at if entries else since.floor
    floor = max(since.floor, min(highest, to_timestamp(window_start)))
    above = [entry for entry in entries if entry.last_message_at > floor]
    if (excess := len(above) + len(unread_hashes) - MAX_HASHES) > 0:
        floor = above[excess - 1].last_message_at
    hashes = [entry.row_hash for entry in above if entry.last_message_at > floor]
    return FeedPosition(floor, (*hashes, *unread_hashes), since.late_updates)


def _hash(last_message_at: str, group_uuid: str, seq: int | str | None) -> bytes:
    """`seq` too, because a late message raises it where the row stands."""
    return blake2b(f"{last_message_at} {group_uuid} {seq}".encode(), digest_size=_HASH_BYTES).digest()
