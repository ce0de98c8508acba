"""A stream for unit tests: boto3's clients as far as the reader calls them, on shards that a test makes and moves on.

Answers are paged and iterators expire, as on AWS; no test sleeps, because waiting moves the time ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError

from tests.support.clocks import FrozenTime
from tools.stream_worker.records import Record
from tools.stream_worker.stopping import Stop

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/messages/stream/2026-01-02T00:00:00.000"
ITERATOR_SECONDS = 15 * 60


@dataclass
class FakeShard:
    """A shard's records, of which those before `trimmed` are gone."""

    parent: str | None = None
    records: list[Record] = field(default_factory=list)
    closed: bool = False
    trimmed: int = 0


class FakeStreams:
    """One table's stream, as a client of DynamoDB and as one of its streams."""

    def __init__(self, time: FrozenTime, *, page_size: int = 3) -> None:
        self.arn = ARN
        self.shards: dict[str, FakeShard] = {}
        self.away = False
        self.empty_pages = 0  # that many answers are empty although records follow
        self._time = time
        self.page_size = page_size
        self._number = 0

    def add_shard(self, shard_id: str, *, parent: str | None = None) -> FakeShard:
        self.shards[shard_id] = FakeShard(parent)
        return self.shards[shard_id]

    def put(self, shard_id: str, text: str, *, event: str = "INSERT", pk: str = "MSG#g") -> Record:
        """A change of an item, as the last record of the shard."""
        self._number += 1
        key = {"pk": {"S": pk}, "sk": {"S": f"{self._number:03}"}}
        change = {"Keys": key, "NewImage": {**key, "message": {"S": text}}, "SequenceNumber": f"{self._number:021}"}
        change["ApproximateCreationDateTime"] = datetime(2026, 1, 2, tzinfo=UTC)
        record = {"eventID": f"event-{self._number}", "eventName": event, "dynamodb": change}
        self.shards[shard_id].records.append(record)
        return record

    def describe_table(self, *, TableName: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self._check()
        return {"Table": {"TableName": TableName, **({"LatestStreamArn": self.arn} if self.arn else {})}}

    def describe_stream(self, *, StreamArn: str, ExclusiveStartShardId: str = "") -> dict[str, Any]:  # noqa: N803
        """Two shards a page."""
        self._check()
        self._check_arn(StreamArn)
        ids = list(self.shards)
        rest = ids[ids.index(ExclusiveStartShardId) + 1 :] if ExclusiveStartShardId else ids
        shards = [{"ShardId": each, **_parent(self.shards[each].parent)} for each in rest[:2]]
        last = {"LastEvaluatedShardId": rest[1]} if len(rest) > 2 else {}
        return {"StreamDescription": {"StreamArn": StreamArn, "Shards": shards, **last}}

    def get_shard_iterator(self, *, StreamArn: str, ShardId: str, ShardIteratorType: str) -> dict[str, str]:  # noqa: N803
        self._check()
        self._check_arn(StreamArn)
        assert ShardIteratorType == "TRIM_HORIZON"
        return self._iterator(ShardId, self._shard(ShardId).trimmed)

    def get_records(self, *, ShardIterator: str) -> dict[str, Any]:  # noqa: N803
        self._check()
        arn, shard_id, start, issued = ShardIterator.split("|")
        self._check_arn(arn)
        if self._time.monotonic() - float(issued) >= ITERATOR_SECONDS:
            raise _error("ExpiredIteratorException")
        shard, begin = self._shard(shard_id), int(start)
        if begin < shard.trimmed:
            raise _error("TrimmedDataAccessException")
        page = shard.records[begin : begin + self.page_size]
        if self.empty_pages:
            self.empty_pages -= 1
            page = []
        end = begin + len(page)
        if shard.closed and end == len(shard.records):
            return {"Records": page}
        return {"Records": page, "NextShardIterator": self._iterator(shard_id, end)["ShardIterator"]}

    def _iterator(self, shard_id: str, start: int) -> dict[str, str]:
        return {"ShardIterator": f"{self.arn}|{shard_id}|{start}|{self._time.monotonic()}"}

    def _shard(self, shard_id: str) -> FakeShard:
        if shard_id not in self.shards:
            raise _error("ResourceNotFoundException")
        return self.shards[shard_id]

    def _check(self) -> None:
        if self.away:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:8000")

    def _check_arn(self, arn: str) -> None:
        if arn != self.arn:
            raise _error("ResourceNotFoundException")


class FakeStop(Stop):
    """Waiting moves the time ahead, after which the next of `events` happens; without one, the end is asked for."""

    def __init__(self, time: FrozenTime) -> None:
        super().__init__()
        self.events: list[Callable[[], object]] = []
        self.pauses: list[float] = []
        self._time = time

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._time.ahead += seconds
        if self.events:
            self.events.pop(0)()
        else:
            self.asked = True


def _parent(shard_id: str | None) -> dict[str, str]:
    return {} if shard_id is None else {"ParentShardId": shard_id}


def _error(code: str) -> ClientError:
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(response, "Call")
