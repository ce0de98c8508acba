"""Reads a table's stream and has its records delivered: what a Lambda event source mapping does, in one process.

The shards are read in turn. Nothing is forgotten by a crash: a position is kept when everything before it is settled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from lib.ddb.errors import StoreUnavailable
from lib.logs import log
from lib.streams.checkpoints import Checkpoints
from lib.streams.delivery import Delivery
from lib.streams.records import matches, sequence_number
from lib.streams.shards import ShardReader, readable
from lib.streams.source import StreamSource
from lib.streams.stopping import Stop

_POLL_SECONDS = 0.25  # as often as Lambda does; AWS takes five reads of a shard a second
_DISCOVER_SECONDS = 10.0
_AWAY_SECONDS = 1.0


class StreamWorker:
    """One stream's shards, from their checkpoints on. `pattern` says which records are delivered.

    A batch goes out when it has `batch_size` records, or when its first one has waited for `window` seconds.
    """

    def __init__(
        self,
        source: StreamSource,
        checkpoints: Checkpoints,
        delivery: Delivery,
        stop: Stop,
        *,
        pattern: Mapping[str, Any],
        batch_size: int,
        window: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._checkpoints = checkpoints
        self._delivery = delivery
        self._stop = stop
        self._pattern = pattern
        self._batch_size = batch_size
        self._window = window
        self._clock = clock
        self._stream_arn = ""
        self._readers: dict[str, ShardReader] = {}
        self._discover_at = clock()

    def run(self) -> None:
        """Work until the stop is asked for. A DynamoDB that is away is waited for."""
        away = False
        while not self._stop.asked:
            try:
                more = self._round()
            except StoreUnavailable as error:
                if not away:
                    log("stream_unavailable", level=logging.WARNING, table=self._source.table, reason=str(error))
                away, self._discover_at = True, self._clock()
                self._stop.pause(_AWAY_SECONDS)
                continue
            if away:
                log("stream_available", stream_arn=self._stream_arn)
                away = False
            if not more:
                self._stop.pause(_POLL_SECONDS)

    def run_once(self) -> None:
        """Work until the tips of all shards, or until the stop is asked for. Raises StoreUnavailable."""
        self._window, self._discover_at = 0, self._clock()
        while self._round() and not self._stop.asked:
            pass

    def _round(self) -> bool:
        """Read every readable shard once, and deliver what is due; whether more may be there at once."""
        if self._clock() >= self._discover_at:
            self._discover()
        more = [self._advance(reader) for reader in list(self._readers.values())]
        return any(more)

    def _discover(self) -> None:
        arn = self._source.stream_arn()
        if arn != self._stream_arn:
            log("stream_opened", stream_arn=arn)
            self._stream_arn, self._readers = arn, {}
            self._checkpoints.open(arn)
        shards = self._source.shards(arn)
        present = {shard.id for shard in shards}
        self._checkpoints.retain(present)
        self._readers = {shard_id: reader for shard_id, reader in self._readers.items() if shard_id in present}
        for shard in readable(shards, self._checkpoints.finished):
            if shard.id not in self._readers:
                after = self._checkpoints.position(shard.id)
                log("stream_shard_opened", shard_id=shard.id, after=after)
                self._readers[shard.id] = ShardReader(self._source, arn, shard.id, after=after)
        self._discover_at = self._clock() + _DISCOVER_SECONDS

    def _advance(self, reader: ShardReader) -> bool:
        self._read(reader)
        while not self._stop.asked and self._due(reader):
            for settled in self._delivery.deliver(reader.id, reader.pending[: self._batch_size]):
                self._checkpoints.advance(reader.id, sequence_number(reader.pending[settled - 1]))
                del reader.pending[:settled]
        if not reader.pending:
            self._settle_all(reader)
        return not reader.at_tip

    def _read(self, reader: ShardReader) -> None:
        wanted = [record for record in reader.read() if matches(self._pattern, record)]
        if wanted and not reader.pending:
            reader.pending_since = self._clock()
        reader.pending += wanted

    def _due(self, reader: ShardReader) -> bool:
        waited = self._clock() - reader.pending_since >= self._window
        return bool(reader.pending) and (waited or reader.finished or len(reader.pending) >= self._batch_size)

    def _settle_all(self, reader: ShardReader) -> None:
        """Everything that was read is delivered, or is none of the handler's business."""
        if reader.finished:
            self._checkpoints.finish(reader.id)
            log("stream_shard_finished", shard_id=reader.id)
            del self._readers[reader.id]
            self._discover_at = self._clock()  # its children can be read now
        elif reader.position:
            self._checkpoints.advance(reader.id, reader.position)
