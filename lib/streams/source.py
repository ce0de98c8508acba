"""DynamoDB Streams as four calls: which stream, which shards, where to begin, and the next records.

botocore's errors become StoreUnavailable here, as at the table. Knows neither what is in a record nor what was read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lib.aws.connections import CONNECT_SECONDS
from lib.aws.dynamodb_client import TRIES
from lib.config import DynamoDBSettings
from lib.ddb.admin import refuse_empty
from lib.ddb.errors import StoreUnavailable, translated
from lib.streams.records import Record, to_event

_READ_TIMEOUT_SECONDS = 5  # an answer has up to 1 MB

# InternalFailure is DynamoDB Local's word for a sequence number beyond the shard's end. AWS says InternalServerError.
_LOST = ("ExpiredIteratorException", "TrimmedDataAccessException", "ValidationException", "InternalFailure")


class PositionLost(StoreUnavailable):
    """The stream cannot go on from there: the iterator is too old, or the records are gone."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard, and the one whose records come before its own."""

    id: str
    parent_id: str | None


def connect_streams(settings: DynamoDBSettings) -> Any:
    """A client of the streams of the DynamoDB that the settings name."""
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


class StreamSource:
    """The stream of one table. Every method raises StoreUnavailable."""

    def __init__(self, dynamodb: Any, streams: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._streams = streams
        self.table = table

    def stream_arn(self) -> str:
        """The table's stream of today; a table that was made anew has another."""
        with translated():
            description = self._dynamodb.describe_table(TableName=self.table)["Table"]
        if "LatestStreamArn" not in description:
            raise StoreUnavailable(f"the table {self.table} has no stream")
        arn: str = description["LatestStreamArn"]
        return arn

    def shards(self, stream_arn: str) -> list[Shard]:
        """All shards that still have records, over all pages."""
        found: list[Shard] = []
        start: dict[str, str] = {}
        while True:
            with translated():
                description = self._streams.describe_stream(StreamArn=stream_arn, **start)["StreamDescription"]
            found += [Shard(each["ShardId"], each.get("ParentShardId")) for each in description["Shards"]]
            if not description.get("LastEvaluatedShardId"):
                return found
            start = {"ExclusiveStartShardId": description["LastEvaluatedShardId"]}

    def iterator(self, stream_arn: str, shard_id: str, *, after: str | None) -> str:
        """Where to read from: behind this sequence number, or with None the oldest record. Raises PositionLost."""
        place = (
            {"ShardIteratorType": "TRIM_HORIZON"}
            if after is None
            else {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after}
        )
        with _position():
            iterator: str = self._streams.get_shard_iterator(StreamArn=stream_arn, ShardId=shard_id, **place)[
                "ShardIterator"
            ]
        return iterator

    def read(self, stream_arn: str, iterator: str) -> tuple[list[Record], str | None]:
        """The records from there on, maybe none, and where the next are; None at the end of a closed shard.

        Raises PositionLost.
        """
        with _position():
            answer = self._streams.get_records(ShardIterator=iterator)
        return [to_event(record, stream_arn) for record in answer["Records"]], answer.get("NextShardIterator")


@contextmanager
def _position() -> Iterator[None]:
    with translated():
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _LOST:
                raise PositionLost(code) from error
            raise
