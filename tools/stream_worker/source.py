"""DynamoDB Streams as three calls: which stream, which shards, and the next records.

botocore's errors become StoreUnavailable here, as at the table. Knows neither what is in a record nor what was read.
"""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from lib.aws.connections import CONNECT_SECONDS
from lib.aws.dynamodb_client import TRIES
from lib.config import DynamoDBSettings
from lib.ddb.errors import RequestRejected, StoreUnavailable, translate_errors
from tools.cli.tables import refuse_empty
from tools.stream_worker.records import Record, to_event

_READ_TIMEOUT_SECONDS = 5  # an answer has up to 1 MB


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
        with translate_errors():
            description = self._dynamodb.describe_table(TableName=self.table)["Table"]
        if "LatestStreamArn" not in description:
            raise StoreUnavailable(f"the table {self.table} has no stream")
        arn: str = description["LatestStreamArn"]
        return arn

    def shards(self, stream_arn: str) -> dict[str, str | None]:
        """All shards that still have records, over all pages; each with the one whose records come before its own."""
        found: dict[str, str | None] = {}
        start: dict[str, str] = {}
        while True:
            with translate_errors():
                description = self._streams.describe_stream(StreamArn=stream_arn, **start)["StreamDescription"]
            found |= {each["ShardId"]: each.get("ParentShardId") for each in description["Shards"]}
            if not description.get("LastEvaluatedShardId"):
                return found
            start = {"ExclusiveStartShardId": description["LastEvaluatedShardId"]}

    def read(self, stream_arn: str, shard_id: str, iterator: str | None) -> tuple[list[Record], str | None]:
        """The records from there on, maybe none, and where the next are; None at the end of a closed shard.

        Without an iterator, from the oldest record on.
        """
        try:
            with translate_errors():
                if iterator is None:
                    oldest = {"StreamArn": stream_arn, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
                    iterator = self._streams.get_shard_iterator(**oldest)["ShardIterator"]
                answer = self._streams.get_records(ShardIterator=iterator)
        except RequestRejected as error:  # the iterator is too old, or of a stream that is gone
            raise StoreUnavailable(error.code) from error
        return [to_event(record, stream_arn) for record in answer["Records"]], answer.get("NextShardIterator")
