"""The feed: the conversations of an inbox that moved since an earlier read, each move once.

A message moves its conversation's row to a later sort key. So a new move usually appears above the rows that a client
has. But sort keys come from the clocks of many servers, and a row is visible only after its commit. So a move can also
appear below them:

    sort keys             floor ┄┄┄┄┄┄ window ┄┄┄┄┄┄ now
    first read        A     ┊      B         C        ┊                 F    from a server whose clock was wrong
    second read       A     ┊      B    x    C        ┊  D              F    x: has an earlier key than C, commits later
                            └─ read again ─────────────────────────────────►  returns x and D, but not B, C and F again

- A read returns all rows above the floor whose hashes are not in the cursor. So it returns no move twice, and it misses
  only a move that appears below the floor.
- The floor stays at least one window behind the server's clock. So no read misses a move that is committed within a
  window. The floor never rises above the last row read. So a later read finds any move above that row, even with a
  wrong time.
- A Query is no snapshot. If it shows a row at its old and its new place, the read returns the new one. If it shows the
  row at neither place, the next read returns it like a late commit.
- A cursor holds `MAX_HASHES` hashes. If more rows move within a window, the floor rises, at most to the present, and
  the window shrinks. Rows ahead of the clock never raise it: they wait until the cursor has room or their time comes.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

from lib.clock import to_timestamp
from lib.ddb.items import InboxRow, Message, parse_all
from lib.ddb.table import Table

MAX_HASHES = 160  # so that Feed-Cursor and Link stay below 4 KB, a usual limit of proxies for response headers
_HASH_BYTES = 6


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """How far a client has read: all rows up to `floor`, and above it the rows with these hashes."""

    floor: str
    hashes: tuple[bytes, ...] = ()

    def to_payload(self) -> list[str]:
        return [self.floor, b64encode(b"".join(self.hashes)).decode()]

    @classmethod
    def from_payload(cls, payload: Sequence[str]) -> FeedPosition:
        floor, hashes = payload[0], b64decode(payload[1])
        starts = range(0, len(hashes), _HASH_BYTES)
        return cls(floor, tuple(hashes[start : start + _HASH_BYTES] for start in starts))


def after_inbox(newest: Sequence[InboxRow], *, now: datetime, window: timedelta) -> FeedPosition:
    """The position after the first page of an inbox, newest first. After an empty page, every later row is new."""
    return _advance(FeedPosition(floor=""), newest[::-1], (), now - window)


def after_messages(newest: Sequence[Message], *, now: datetime, window: timedelta) -> FeedPosition:
    """The position after a page of messages: the newest message has the time of the conversation's row."""
    floor = to_timestamp(now - window)
    hashes = (_hash(message.created_at, message.group_uuid) for message in newest[:1] if message.created_at > floor)
    return FeedPosition(floor, tuple(hashes))


def read(
    table: Table, pk: str, since: FeedPosition, *, limit: int, now: datetime, window: timedelta
) -> tuple[list[InboxRow], FeedPosition, bool]:
    """Up to `limit` moves in the inbox `pk`, oldest first; the position after them; and whether there are more.

    `now` is a time before the read. Sends one Query; more to read past 1 MB or past rows ahead of the clock.
    """
    present, known = to_timestamp(now), set(since.hashes)
    seen: dict[bytes, InboxRow] = {}
    fresh: list[InboxRow] = []
    more = False
    for row in _rows_above(since.floor, table, pk, at_once=limit + len(known) + 1):
        row_hash = _hash(row.last_message_at, row.group_uuid)
        if row_hash not in known:
            if row.last_message_at > present and len(known) + len(fresh) >= MAX_HASHES:
                continue
            if len(fresh) == limit:
                more = True
                break
            fresh.append(row)
        seen[row_hash] = row
    unseen = [row_hash for row_hash in since.hashes if row_hash not in seen] if more else []  # else they have moved on
    latest = {row.group_uuid: row for row in seen.values()}
    moved = [row for row in fresh if row is latest[row.group_uuid]]
    return moved, _advance(since, list(seen.values()), unseen, now - window), more


def _rows_above(floor: str, table: Table, pk: str, *, at_once: int) -> Iterator[InboxRow]:
    more = True
    while more:
        items, more = table.oldest(pk, limit=at_once, after=floor or None)
        yield from parse_all(items, InboxRow.from_item)
        floor = items[-1]["sk"]["S"] if items else floor


def _advance(
    since: FeedPosition, seen: Sequence[InboxRow], unseen: Sequence[bytes], window_start: datetime
) -> FeedPosition:
    """The position after the rows `seen`, lowest key first; rows with the hashes `unseen` may stand above them."""
    highest = seen[-1].last_message_at if seen else since.floor
    floor = max(since.floor, min(highest, to_timestamp(window_start)))
    above = [row for row in seen if row.last_message_at > floor]
    if (excess := len(above) + len(unseen) - MAX_HASHES) > 0:
        floor = above[excess - 1].last_message_at
    hashes = [_hash(row.last_message_at, row.group_uuid) for row in above if row.last_message_at > floor]
    return FeedPosition(floor, (*hashes, *unseen))


def _hash(last_message_at: str, group_uuid: str) -> bytes:
    return blake2b(f"{last_message_at} {group_uuid}".encode(), digest_size=_HASH_BYTES).digest()
