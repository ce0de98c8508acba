"""Pattern D by the table's stream where no Lambda does it: poll the shards, and call the function's handler.

The worker stores no position. Updates are idempotent and the table is the truth, so each start reads the stream from
its oldest record, and so does the worker after an error. For the same reason the order of the shards does not matter.
The worker retries a failed record alone, then logs and skips it. The message gets its number together with the next
message of its conversation, or from `bin/ddb/doctor --fix`.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import boto3
from botocore.config import Config

from lib.aws.connections import CONNECT_SECONDS
from lib.aws.dynamodb_client import TRIES
from lib.config import DynamoDBSettings
from lib.ddb.errors import StoreError, StoreUnavailable, translate_errors
from lib.logs import log
from tools.cli.tables import refuse_empty

Record = dict[str, Any]
"""What GetRecords returns of one change. Lambda delivers the same: eventName, dynamodb.Keys, dynamodb.NewImage, …"""

Handler = Callable[[dict[str, Any], object], dict[str, Any]]
"""A Lambda handler: takes an event and a context, returns `{"batchItemFailures": [{"itemIdentifier": …}]}`."""

_READ_TIMEOUT_SECONDS = 5  # a response has up to 1 MB
_POLL_SECONDS = 0.25  # as often as Lambda does; AWS allows five reads of a shard per second
_DISCOVER_SECONDS = 10.0
_UNAVAILABLE_SECONDS = 1.0
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.2, 10.0
_EMPTY_ROUNDS_AT_TIP = 3  # AWS may return no records although some follow, and does not say so


def connect_streams(settings: DynamoDBSettings) -> Any:
    """A boto3 client for the streams of the configured DynamoDB."""
    client = boto3.client(
        "dynamodbstreams",
        region_name=settings.aws_default_region,
        endpoint_url=settings.aws_endpoint_url_dynamodb,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=_READ_TIMEOUT_SECONDS,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            account_id_endpoint_mode="disabled",  # else a stream's ARN can lead to an endpoint that does not exist
        ),
    )
    client.meta.events.register("before-parse.dynamodbstreams", refuse_empty)
    return client


def stop_on_signals() -> Callable[[], bool]:
    """Note SIGINT and SIGTERM; the returned function tells whether one arrived. A second signal ends the process."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return lambda: bool(received)


class StreamWorker:
    """The worker of one table's stream. `skipped` counts the records that it gave up."""

    def __init__(
        self,
        dynamodb: Any,
        streams: Any,
        table: str,
        handler: Handler,
        *,
        retries: int,
        batch_size: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.skipped = 0
        self._dynamodb = dynamodb
        self._streams = streams
        self._table = table
        self._handler = handler
        self._retries = retries
        self._batch_size = batch_size
        self._clock = clock
        self._sleep = sleep
        self._discover_at = 0.0
        self._iterators: dict[tuple[str, str], str | None] = {}  # by stream and shard; None: read to its end

    def run(self, stopped: Callable[[], bool]) -> None:
        """Poll until `stopped()`. The worker waits for a DynamoDB that is unavailable."""
        available = True
        while not stopped():
            try:
                more = self._poll()
            except StoreError as error:  # an iterator that is too old is one too
                if available:
                    log("stream_unavailable", level=logging.WARNING, table=self._table, reason=str(error))
                available, self._iterators, self._discover_at = False, {}, 0.0
                self._sleep(_UNAVAILABLE_SECONDS)
                continue
            available = True
            if not more:
                self._sleep(_POLL_SECONDS)

    def run_once(self) -> None:
        """Read all shards to their tips. Raises StoreError."""
        self._discover_at, empty_rounds = 0.0, 0
        while empty_rounds < _EMPTY_ROUNDS_AT_TIP:
            empty_rounds = 0 if self._poll() else empty_rounds + 1

    def _poll(self) -> bool:
        """Read every open shard once; whether more records may follow at once."""
        if self._clock() >= self._discover_at:
            self._discover()
        more = False
        for shard, iterator in self._iterators.items():
            if iterator is None:
                continue
            with translate_errors():
                response = self._streams.get_records(ShardIterator=iterator, Limit=self._batch_size)
            for record in self._handle(response["Records"]):
                self._retry(record)
            self._iterators[shard] = following = response.get("NextShardIterator")
            if following is None:
                self._discover_at = 0.0  # other shards take over
            more |= bool(response["Records"]) or following is None
        return more

    def _discover(self) -> None:
        """Open the shards that are new, of the stream that the table has now."""
        arn = self._stream_arn()
        with translate_errors():
            shards = [(arn, shard_id) for shard_id in self._shard_ids(arn)]
            self._iterators = {
                shard: self._iterators[shard] if shard in self._iterators else self._open(*shard) for shard in shards
            }
        self._discover_at = self._clock() + _DISCOVER_SECONDS

    def _stream_arn(self) -> str:
        with translate_errors():
            description = self._dynamodb.describe_table(TableName=self._table)["Table"]
        if "LatestStreamArn" not in description:
            raise StoreUnavailable(f"the table {self._table} has no stream")
        return str(description["LatestStreamArn"])

    def _shard_ids(self, stream_arn: str) -> Iterator[str]:
        page: dict[str, Any] = self._streams.describe_stream(StreamArn=stream_arn)["StreamDescription"]
        yield from (shard["ShardId"] for shard in page["Shards"])
        while last := page.get("LastEvaluatedShardId"):
            page = self._streams.describe_stream(StreamArn=stream_arn, ExclusiveStartShardId=last)["StreamDescription"]
            yield from (shard["ShardId"] for shard in page["Shards"])

    def _open(self, stream_arn: str, shard_id: str) -> str:
        oldest = {"StreamArn": stream_arn, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
        iterator: str = self._streams.get_shard_iterator(**oldest)["ShardIterator"]
        log("stream_opened", stream_arn=stream_arn, shard_id=shard_id)
        return iterator

    def _handle(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records that failed. Raises StoreUnavailable if DynamoDB failed instead."""
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
            self._stream_arn()
        return failed

    def _retry(self, record: Record) -> None:
        for attempt in range(self._retries):
            if not self._handle([record]):
                return
            self._sleep(min(_RETRY_SECONDS * 2**attempt, _LONGEST_RETRY_SECONDS))
        if self._handle([record]):
            self.skipped += 1
            names = {"sequence_number": _sequence_number(record), "keys": record["dynamodb"]["Keys"]}
            log("stream_record_skipped", level=logging.ERROR, **names, attempts=self._retries + 1)


def _sequence_number(record: Record) -> str:
    return str(record["dynamodb"]["SequenceNumber"])
