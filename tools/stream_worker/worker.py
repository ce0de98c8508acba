"""Pattern D without Lambda: polls the shards of the table's stream, and calls the function's handler.

The worker stores no position. Updates are idempotent and the table is the truth, so each start reads the stream from
its oldest record, and so does the worker after an error. For the same reason the order of the shards does not matter.
The worker retries a failed record alone, then logs and skips it. The message gets its number together with the next
message of its conversation, or from `bin/ddb/doctor --fix`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from lib.ddb.errors import StoreError, StoreUnavailable, translate_errors
from lib.logs import log

Record = dict[str, Any]
"""What GetRecords returns of one change. Lambda delivers the same: eventName, dynamodb.Keys, dynamodb.NewImage, …"""

Handler = Callable[[dict[str, Any], object], dict[str, Any]]
"""A Lambda handler: takes an event and a context, returns `{"batchItemFailures": [{"itemIdentifier": …}]}`."""

_BATCH_SIZE = 100
_POLL_SECONDS = 0.25  # as often as Lambda does; AWS allows five reads of a shard per second
_POLLS_PER_DISCOVERY = 40
_UNAVAILABLE_SECONDS = 1.0
_RETRY_SECONDS = (0, 0.2, 0.4, 0.8, 1.6)  # the pause before each retry
_NEVER = datetime.max.replace(tzinfo=UTC)
_EMPTY_POLLS_AT_TIP = 3  # AWS may return no records although some follow, and does not say so


class StreamWorker:
    """The worker of one table's stream. `skipped` counts the records that it gave up."""

    def __init__(
        self, dynamodb: Any, streams: Any, table: str, handler: Handler, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.skipped = 0
        self._dynamodb = dynamodb
        self._streams = streams
        self._table = table
        self._handler = handler
        self._sleep = sleep
        self._polls = 0  # those since the last discovery; 0: discover first
        self._iterators: dict[tuple[str, str], str | None] = {}  # by stream and shard; None: read to its end

    def run(self) -> None:
        """Poll until KeyboardInterrupt. The worker waits for a DynamoDB that is unavailable."""
        available = True
        while True:
            try:
                if not self._poll():
                    self._sleep(_POLL_SECONDS)
                available = True
            except StoreError as error:  # also for an expired iterator
                if available:
                    log("stream_unavailable", level=logging.WARNING, table=self._table, reason=str(error))
                available, self._iterators, self._polls = False, {}, 0
                self._sleep(_UNAVAILABLE_SECONDS)

    def run_once(self) -> None:
        """Read all records that the shards have now, even if writers never pause. Raises StoreError."""
        started_at = datetime.now(UTC)
        self._polls = empty_polls = 0
        while empty_polls < _EMPTY_POLLS_AT_TIP:
            empty_polls = 0 if self._poll(until=started_at) else empty_polls + 1

    def _poll(self, until: datetime = _NEVER) -> bool:
        """Read every open shard once; return whether more records from before `until` may follow. Raises StoreError."""
        more = False
        with translate_errors():
            if self._polls % _POLLS_PER_DISCOVERY == 0:
                self._discover()
            self._polls += 1
            for shard, iterator in self._iterators.items():
                if iterator:
                    response = self._streams.get_records(ShardIterator=iterator, Limit=_BATCH_SIZE)
                    self._deliver(response["Records"])
                    self._iterators[shard] = response.get("NextShardIterator")
                    if self._iterators[shard] is None:
                        more, self._polls = True, 0  # other shards take over
                    more |= any(_may_precede(record, until) for record in response["Records"])
        return more

    def _discover(self) -> None:
        """Open the shards that are new, of the stream that the table has now."""
        arn = self._stream_arn()
        shards = [(arn, shard_id) for shard_id in self._shard_ids(arn)]
        self._iterators = {
            shard: self._iterators[shard] if shard in self._iterators else self._open(*shard) for shard in shards
        }

    def _stream_arn(self) -> str:
        description = self._dynamodb.describe_table(TableName=self._table)["Table"]
        if "LatestStreamArn" not in description:
            raise StoreUnavailable(f"the table {self._table} has no stream")
        return str(description["LatestStreamArn"])

    def _shard_ids(self, stream_arn: str, **start: str) -> Iterator[str]:
        page = self._streams.describe_stream(StreamArn=stream_arn, **start)["StreamDescription"]
        yield from (shard["ShardId"] for shard in page["Shards"])
        if last := page.get("LastEvaluatedShardId"):
            yield from self._shard_ids(stream_arn, ExclusiveStartShardId=last)

    def _open(self, stream_arn: str, shard_id: str) -> str:
        oldest = {"StreamArn": stream_arn, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
        iterator: str = self._streams.get_shard_iterator(**oldest)["ShardIterator"]
        log("stream_opened", stream_arn=stream_arn, shard_id=shard_id)
        return iterator

    def _deliver(self, records: Sequence[Record]) -> None:
        """Call the handler; retry each failed record alone, then skip it."""
        for record in self._failed(records):
            for seconds in _RETRY_SECONDS:
                self._sleep(seconds)
                if not self._failed([record]):
                    break
            else:
                self.skipped += 1
                number, keys = _sequence_number(record), _change(record).get("Keys")
                attempts = 1 + len(_RETRY_SECONDS)
                log("stream_record_skipped", level=logging.ERROR, sequence_number=number, keys=keys, attempts=attempts)

    def _failed(self, records: Sequence[Record]) -> Sequence[Record]:
        """Call the handler; return the failed records. Raises StoreUnavailable or ClientError if DynamoDB failed."""
        if not records:
            return []
        try:
            failures = self._handler({"Records": records}, None)["batchItemFailures"]
            numbers = {failure["itemIdentifier"] for failure in failures}
            failed = [record for record in records if _sequence_number(record) in numbers]
        except Exception as error:  # whatever a handler raises fails its batch
            log("stream_handler_failed", level=logging.ERROR, error=error)
            failed = list(records)
        if failed:
            self._stream_arn()  # the cause may be an outage
        return failed


def _sequence_number(record: Record) -> str | None:
    """The number by which the handler names a failed record; None if the record is malformed."""
    return _change(record).get("SequenceNumber")


def _may_precede(record: Record, until: datetime) -> bool:
    """Whether the change is not later. Its time is rounded down to a second; a malformed record has none."""
    return bool(_change(record).get("ApproximateCreationDateTime", until) <= until)


def _change(record: Record) -> Record:
    change = record.get("dynamodb")
    return change if isinstance(change, dict) else {}
