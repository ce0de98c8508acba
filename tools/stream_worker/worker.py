"""Pattern D by the table's stream where Lambda does not do it: a loop that reads the shards and calls the handler.

It keeps no position. The handler's updates are idempotent and the table is the truth, so every start reads the stream
from its oldest record, and so does who could not read on. A record that fails is tried again by itself;
after the last try it is logged and skipped. Its message stays without a number until the next message of its
conversation, or until `bin/ddb/doctor --fix`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from lib.ddb.errors import StoreUnavailable
from lib.logs import log
from tools.stream_worker.records import Record, is_new_message, sequence_number
from tools.stream_worker.source import StreamSource
from tools.stream_worker.stopping import Stop

Handler = Callable[[dict[str, Any], Any], Any]
"""A Lambda handler: takes an event and a context, answers None or `{"batchItemFailures": […]}`."""

_POLL_SECONDS = 0.25  # as often as Lambda does; AWS takes five reads of a shard a second
_DISCOVER_SECONDS = 10.0
_AWAY_SECONDS = 1.0
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 10.0

# AWS may answer without records although some follow, and nothing in the answer tells that none do.
_EMPTY_ROUNDS_AT_TIP = 3


class StreamWorker:
    """The worker of one stream; `skipped` counts the records that it gave up."""

    def __init__(
        self,
        source: StreamSource,
        handler: Handler,
        stop: Stop,
        *,
        retries: int,
        batch_size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.skipped = 0
        self._source = source
        self._handler = handler
        self._stop = stop
        self._retries = retries
        self._batch_size = batch_size
        self._clock = clock
        self._stream_arn = ""
        self._iterators: dict[str, str | None] = {}  # of the open shards; None: from the oldest record
        self._finished: set[str] = set()
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
        self._discover_at, empty_rounds = self._clock(), 0
        while empty_rounds < _EMPTY_ROUNDS_AT_TIP and not self._stop.asked:
            empty_rounds = 0 if self._round() else empty_rounds + 1

    def _round(self) -> bool:
        """Read every open shard once, and deliver what came; whether more may be there at once."""
        if self._clock() >= self._discover_at:
            self._discover()
        more = [self._read(shard_id) for shard_id in list(self._iterators)]
        return any(more)

    def _discover(self) -> None:
        """Open the new shards whose parent was read to its end, or is gone: records come in their order."""
        arn = self._source.stream_arn()
        if arn != self._stream_arn:
            log("stream_opened", stream_arn=arn)
            self._stream_arn, self._iterators, self._finished = arn, {}, set()
        parents = self._source.shards(arn)
        self._iterators = {shard_id: at for shard_id, at in self._iterators.items() if shard_id in parents}
        for shard_id, parent_id in parents.items():
            if shard_id not in self._finished and (parent_id not in parents or parent_id in self._finished):
                self._iterators.setdefault(shard_id, None)
        self._discover_at = self._clock() + _DISCOVER_SECONDS

    def _read(self, shard_id: str) -> bool:
        iterator = self._iterators[shard_id]
        self._iterators[shard_id] = None  # should it be too old, or the stream another
        records, following = self._source.read(self._stream_arn, shard_id, iterator)
        self._iterators[shard_id] = iterator
        wanted = [record for record in records if is_new_message(record)]
        for start in range(0, len(wanted), self._batch_size):
            self._deliver(shard_id, wanted[start : start + self._batch_size])
        if self._stop.asked:  # maybe in the middle: who drains the stream reads these records again
            return True
        self._iterators[shard_id] = following
        if following is None:
            self._finished.add(shard_id)
            del self._iterators[shard_id]
            self._discover_at = self._clock()  # its children can be read now
        return bool(records) or following is None

    def _deliver(self, shard_id: str, batch: Sequence[Record]) -> None:
        """Call the handler with a batch; after a failure, with one record at a time, so that no good one is skipped."""
        for record in batch[self._call(shard_id, batch) :]:
            self._deliver_alone(shard_id, record)

    def _deliver_alone(self, shard_id: str, record: Record) -> None:
        for attempt in range(self._retries + 1):
            if self._stop.asked or self._call(shard_id, [record]):
                return
            if attempt < self._retries:
                self._stop.pause(min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2**attempt))
        if not self._stop.asked:
            self.skipped += 1
            ids = {"sequence_number": sequence_number(record), "keys": record["dynamodb"]["Keys"]}
            log("stream_record_skipped", level=logging.ERROR, shard_id=shard_id, **ids, attempts=self._retries + 1)

    def _call(self, shard_id: str, batch: Sequence[Record]) -> int:
        """How many records from the first on are done. Raises StoreUnavailable if no record is to blame."""
        began, done = time.monotonic(), 0
        try:
            done = _done(self._handler({"Records": list(batch)}, None), batch)
        except Exception as raised:  # whatever a handler raises fails its batch
            log("stream_handler_failed", level=logging.ERROR, error=raised, shard_id=shard_id)
        milliseconds = round((time.monotonic() - began) * 1000, 1)
        first = sequence_number(batch[0])
        log("stream_batch", shard_id=shard_id, first=first, records=len(batch), done=done, milliseconds=milliseconds)
        if done < len(batch):
            self._source.stream_arn()
        return done


def _done(answer: Any, batch: Sequence[Record]) -> int:
    """How many records come before the first failed one. An answer that makes no sense fails the whole batch."""
    if answer is None:
        return len(batch)
    places = {sequence_number(record): place for place, record in enumerate(batch)}
    try:
        failures = answer.get("batchItemFailures") or []
        return min((places[failure["itemIdentifier"]] for failure in failures), default=len(batch))
    except (AttributeError, KeyError, TypeError):
        return 0
