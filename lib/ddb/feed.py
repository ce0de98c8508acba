"""The inbox as its own change feed: the conversations that moved since an earlier reading, each move once.

Every message gives its conversation's row a later sort key, so what is new stands above what was read. But not all of
it: keys come from the clocks of many servers, and a row is seen only when its write is committed. One can appear
below rows that were given already:

    sort keys             floor ┄┄┄┄┄┄ window ┄┄┄┄┄┄ now
    first reading     A     ┊      B         C        ┊                 F    from a server whose clock was wrong
    second reading    A     ┊      B    x    C        ┊  D              F    x: chosen before C, committed after it
                            └─ read again ─────────────────────────────────►  gives x and D; B, C and F are known

- Every reading gives all rows above the floor but those that the cursor names. So nothing is given twice, and
  nothing is missed unless it is committed below the floor.
- The floor is no higher than a window before the readers' clocks: what is committed below it was later than that.
  Nor is it higher than the last row read: what comes above that is given, however late, and whatever a clock said.
- A Query is no snapshot. A row that it shows at its old and its new place is given at the new one; one that it shows
  at neither is given by the next reading, as if it were late.
- A cursor names `MOST_GIVEN` rows. In an inbox that moves faster the floor rises, up to the present: the window
  shrinks. Rows ahead of the clock never raise it: those that cannot be named wait until they can be, or are due.
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

MOST_GIVEN = 160  # so that Feed-Cursor and Link stay below the 4 KB that proxies take for an answer's headers
_HASH_BYTES = 6


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """How far a reader is: all rows up to `floor` were given, and those above it whose hashes are in `given`."""

    floor: str
    given: tuple[bytes, ...] = ()

    def to_payload(self) -> list[str]:
        return [self.floor, b64encode(b"".join(self.given)).decode()]

    @classmethod
    def from_payload(cls, payload: Sequence[str]) -> FeedPosition:
        floor, hashes = payload[0], b64decode(payload[1])
        return cls(floor, tuple(hashes[at : at + _HASH_BYTES] for at in range(0, len(hashes), _HASH_BYTES)))


def after_inbox(newest: Sequence[InboxRow], *, now: datetime, window: timedelta) -> FeedPosition:
    """The position of who was shown the first page of an inbox; in an empty one everything is new."""
    return _advanced(FeedPosition(floor=""), newest[::-1], (), now - window)


def after_messages(newest: Sequence[Message], *, now: datetime, window: timedelta) -> FeedPosition:
    """The position of who was shown messages of a conversation: the newest of them tells what its row would."""
    floor = to_timestamp(now - window)
    known = (_hash(message.created_at, message.group_uuid) for message in newest[:1] if message.created_at > floor)
    return FeedPosition(floor, tuple(known))


def read(
    table: Table, pk: str, since: FeedPosition, *, limit: int, now: datetime, window: timedelta
) -> tuple[list[InboxRow], FeedPosition, bool]:
    """Up to `limit` moves in the inbox `pk`, oldest first; the position after them; and whether there are more.

    `now` was taken before. One Query; more of them to read past 1 MB, or past rows ahead of the clock.
    """
    present, given = to_timestamp(now), set(since.given)
    seen: dict[bytes, InboxRow] = {}
    fresh: list[InboxRow] = []
    more = False
    for row in _rows_above(since.floor, table, pk, at_once=limit + len(given) + 1):
        name = _hash(row.last_message_at, row.group_uuid)
        if name not in given:
            if row.last_message_at > present and len(given) + len(fresh) >= MOST_GIVEN:
                continue
            if len(fresh) == limit:
                more = True
                break
            fresh.append(row)
        seen[name] = row
    unseen = [name for name in since.given if name not in seen] if more else []  # otherwise they have moved on
    latest = {row.group_uuid: row for row in seen.values()}
    moved = [row for row in fresh if row is latest[row.group_uuid]]
    return moved, _advanced(since, list(seen.values()), unseen, now - window), more


def _rows_above(floor: str, table: Table, pk: str, *, at_once: int) -> Iterator[InboxRow]:
    more = True
    while more:
        items, more = table.oldest(pk, limit=at_once, after=floor or None)
        yield from parse_all(items, InboxRow.from_item)
        floor = items[-1]["sk"]["S"] if items else floor


def _advanced(
    since: FeedPosition, seen: Sequence[InboxRow], unseen: Sequence[bytes], window_start: datetime
) -> FeedPosition:
    """The position after rows were seen, the lowest key first, while `unseen` ones that were given may stand above."""
    highest = seen[-1].last_message_at if seen else since.floor
    floor = max(since.floor, min(highest, to_timestamp(window_start)))
    above = [row for row in seen if row.last_message_at > floor]
    if (excess := len(above) + len(unseen) - MOST_GIVEN) > 0:
        floor = above[excess - 1].last_message_at
    names = [_hash(row.last_message_at, row.group_uuid) for row in above if row.last_message_at > floor]
    return FeedPosition(floor, (*names, *unseen))


def _hash(last_message_at: str, group_uuid: str) -> bytes:
    return blake2b(f"{last_message_at} {group_uuid}".encode(), digest_size=_HASH_BYTES).digest()
