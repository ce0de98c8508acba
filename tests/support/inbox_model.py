"""An inbox partition as a feed may find it: rows that appear late, at both places or at neither, in short pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lib.clock import from_timestamp, tick_after, to_timestamp
from lib.ddb.inbox_rows import LATE
from lib.ddb.items import InboxRow, Item, LateUpdates, late_updates_key
from tests.support.stores import ANNA, BERT, START

NEVER = datetime.max.replace(tzinfo=START.tzinfo)
Move = tuple[str, str, int | None]
"""A conversation, the sort key that it moved to, and the number of its messages."""


def move_of(row: InboxRow) -> Move:
    return row.group_uuid, row.last_message_at, row.seq


@dataclass(slots=True)
class _Stored:
    row: InboxRow
    seen_from: datetime
    gone_from: datetime = NEVER


class InboxModel:
    """Anna's inbox, with the method of Table that the feed calls. `now` is the true time, which clocks may not show.

    A Query returns at most `page_rows` rows, as DynamoDB does at 1 MB.
    """

    def __init__(self, *, page_rows: int = 1000) -> None:
        self.now = START
        self.queries = 0
        self._page_rows = page_rows
        self._stored: list[_Stored] = []
        self._malformed: list[Item] = []
        self._late_updates: list[tuple[datetime, datetime]] = []  # the times of commit and of the check before it

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def move(
        self, group: str, *, skew: float = 0, late: float = 0, torn: float = 0, write_seconds: float | None = None
    ) -> None:
        """Send a message at a server whose clock is `skew` seconds ahead; the commit is `late` seconds later.

        The row leaves its old place `torn` seconds after it appears at the new one, with a negative value before that.
        While an earlier write to the conversation is under way, the method does nothing. With `write_seconds`, the move
        is one of stream mode: that long before the commit, the function sees whether the row's time is long ago.
        """
        old = [stored for stored in self._stored if stored.row.group_uuid == group and stored.gone_from == NEVER]
        if any(self.now < stored.seen_from for stored in old) or self._going(group):
            return
        key = to_timestamp(self.now + timedelta(seconds=skew))
        key = max([key, *(tick_after(stored.row.last_message_at) for stored in old)])
        while key in {stored.row.last_message_at for stored in self._stored if self.now < stored.gone_from}:
            key = tick_after(key)
        committed = self.now + timedelta(seconds=late)
        for stored in old:
            stored.gone_from = max(self.now, committed + timedelta(seconds=torn))
        if write_seconds is not None:
            self._count_if_late(key, committed, checked=committed - timedelta(seconds=write_seconds))
        row = InboxRow(
            ANNA.uuid, key, group, "a message", BERT, seq=2, read_seq=1, sender_uuid=BERT.uuid, message_uuid=None
        )
        self._stored.append(_Stored(row, seen_from=committed))

    def number_late_message(self, group: str) -> None:
        """Give a number to a message below the last one, if the row is visible: it stays where it is."""
        for stored in self._stored:
            if stored.row.group_uuid == group and stored.seen_from <= self.now and stored.gone_from == NEVER:
                stored.row = replace(stored.row, seq=(stored.row.seq or 0) + 1)
                self._count_if_late(stored.row.last_message_at, self.now, checked=self.now)

    def put(self, malformed: Item) -> None:
        """Put an item above the late updates."""
        self._malformed.append(malformed)

    def rows(self) -> list[InboxRow]:
        """The rows that a read sees now, the lowest key first."""
        seen = [stored.row for stored in self._stored if stored.seen_from <= self.now < stored.gone_from]
        return sorted(seen, key=lambda row: row.last_message_at)

    def current(self) -> set[Move]:
        """The conversations and their sort keys that a read sees now."""
        return {move_of(row) for row in {row.group_uuid: row for row in self.rows()}.values()}

    def late_updates(self) -> LateUpdates:
        """The late updates that a read sees now."""
        checks = [checked for committed, checked in sorted(self._late_updates) if committed <= self.now]
        return LateUpdates(len(checks), to_timestamp(checks[-1]) if checks else "")

    def oldest(self, pk: str, *, limit: int, after: str | None) -> tuple[list[Item], bool]:
        """Stands in for Table.oldest."""
        self.queries += 1
        rows = [row for row in self.rows() if after is None or row.last_message_at > after]
        items = [row.to_item() for row in rows]
        if (late := self.late_updates()).count:
            values = {"late_updates": {"N": str(late.count)}, "updated_at": {"S": late.updated_at}}
            items.append(late_updates_key(ANNA.uuid) | values)
        items += self._malformed
        size = min(limit, self._page_rows)
        return items[:size], len(items) > size

    def _count_if_late(self, key: str, committed: datetime, *, checked: datetime) -> None:
        if checked - from_timestamp(key) > LATE:
            self._late_updates.append((committed, checked))

    def _going(self, group: str) -> bool:
        return any(stored.row.group_uuid == group and self.now < stored.gone_from < NEVER for stored in self._stored)
