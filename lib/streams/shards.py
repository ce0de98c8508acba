"""A stream's shards in the order in which their records happened: a child is read when its parent is finished."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from lib.logs import log
from lib.streams.records import Record
from lib.streams.source import PositionLost, Shard, StreamSource

# AWS may answer without records although some follow, and nothing in the answer tells that none do.
_EMPTY_PAGES_AT_TIP = 3


def readable(shards: Iterable[Shard], finished: Callable[[str], bool]) -> list[Shard]:
    """The shards that are not finished, and whose parent is: it was read to its end, or its records are gone."""
    present = {shard.id: shard for shard in shards}
    return [
        shard
        for shard in present.values()
        if not finished(shard.id) and (shard.parent_id not in present or finished(shard.parent_id))
    ]


class ShardReader:
    """One shard, read from a position on.

    `position` is the sequence number of the last record that was read, `finished` whether the shard is closed and
    none follows. `pending` holds the records that wait to be delivered, `pending_since` when the first of them came:
    both are its owner's.
    """

    def __init__(self, source: StreamSource, stream_arn: str, shard_id: str, *, after: str | None) -> None:
        self.id = shard_id
        self.position = after
        self.finished = False
        self.pending: list[Record] = []
        self.pending_since = 0.0
        self._source = source
        self._stream_arn = stream_arn
        self._iterator: str | None = None
        self._empty_pages = 0

    @property
    def at_tip(self) -> bool:
        """Whether there was nothing more in an open shard, as far as that can be told."""
        return not self.finished and self._empty_pages >= _EMPTY_PAGES_AT_TIP

    def read(self) -> list[Record]:
        """The next records, maybe none. Raises StoreUnavailable.

        A position that is lost is replaced by the oldest record that there is: better twice than never.
        """
        try:
            return self._page()
        except PositionLost:
            self._iterator = None  # it lasts 15 minutes; the position, as long as its record
        try:
            return self._page()
        except PositionLost as error:
            log("stream_position_lost", level=logging.WARNING, shard_id=self.id, after=self.position, code=str(error))
            self._iterator = self.position = None
        return self._page()

    def _page(self) -> list[Record]:
        if self._iterator is None:
            self._iterator = self._source.iterator(self._stream_arn, self.id, after=self.position)
        records, self._iterator = self._source.read(self._stream_arn, self._iterator)
        self.finished = self._iterator is None
        self._empty_pages = 0 if records else self._empty_pages + 1
        if records:
            self.position = records[-1]["dynamodb"]["SequenceNumber"]
        return records
