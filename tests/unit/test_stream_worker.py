"""The poll loop on a table's stream: which records it delivers, failures, outages and the tip. No time passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from lib.ddb.errors import StoreUnavailable
from tools.stream_worker.worker import Record, StreamWorker

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/messages/stream/2026-01-02T00:00:00.000"
ITERATOR_SECONDS = 15 * 60
RECORDS_PER_PAGE = 3


@dataclass
class FakeShard:
    records: list[Record] = field(default_factory=list)
    closed: bool = False


class FakeStream:
    """boto3's clients of DynamoDB and its streams, for one table. Pages are small and iterators expire, as on AWS."""

    def __init__(self) -> None:
        self.arn = ARN
        self.now = 0.0
        self.shards: dict[str, FakeShard] = {"a": FakeShard()}
        self.unavailable = False
        self.empty_pages = 0  # the number of responses that have no records although some follow
        self.discoveries = 0
        self.created_at = datetime(2026, 1, 2, tzinfo=UTC)
        self._last_number = 0

    def put(self, shard_id: str, text: str) -> None:
        self._last_number += 1
        keys = {"pk": {"S": "MSG#g"}, "sk": {"S": f"{self._last_number:03}"}}
        change = {
            "ApproximateCreationDateTime": self.created_at,
            "Keys": keys,
            "NewImage": {"message": {"S": text}},
            "SequenceNumber": f"{self._last_number:021}",
        }
        shard = self.shards.setdefault(shard_id, FakeShard())
        shard.records.append({"eventName": "INSERT", "dynamodb": change})

    def describe_table(self, *, TableName: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self._check(self.arn)
        return {"Table": {"TableName": TableName, **({"LatestStreamArn": self.arn} if self.arn else {})}}

    def describe_stream(self, *, StreamArn: str, ExclusiveStartShardId: str = "") -> dict[str, Any]:  # noqa: N803
        """Two shards a page."""
        self._check(StreamArn)
        self.discoveries += 1
        rest = [shard_id for shard_id in sorted(self.shards) if shard_id > ExclusiveStartShardId]
        last = {"LastEvaluatedShardId": rest[1]} if len(rest) > 2 else {}
        return {"StreamDescription": {"Shards": [{"ShardId": shard_id} for shard_id in rest[:2]], **last}}

    def get_shard_iterator(self, *, StreamArn: str, ShardId: str, ShardIteratorType: str) -> dict[str, str]:  # noqa: N803
        self._check(StreamArn)
        assert ShardIteratorType == "TRIM_HORIZON"
        return {"ShardIterator": f"{StreamArn}|{ShardId}|0|{self.now}"}

    def get_records(self, *, ShardIterator: str, Limit: int) -> dict[str, Any]:  # noqa: N803
        arn, shard_id, start, issued = ShardIterator.split("|")
        self._check(arn)
        if self.now - float(issued) >= ITERATOR_SECONDS:
            raise _error("ExpiredIteratorException")
        shard = self.shards[shard_id]
        records = shard.records[int(start) :][: min(Limit, RECORDS_PER_PAGE)]
        if self.empty_pages:
            self.empty_pages -= 1
            records = []
        end = int(start) + len(records)
        if shard.closed and end == len(shard.records):
            return {"Records": records}
        return {"Records": records, "NextShardIterator": f"{arn}|{shard_id}|{end}|{self.now}"}

    def _check(self, arn: str) -> None:
        if self.unavailable:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:8000")
        if arn != self.arn:
            raise _error("ResourceNotFoundException")


def _error(code: str) -> ClientError:
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(response, "Call")


class Bench:
    """A stream with four messages in shard `a`, and a handler that fails the messages whose texts are in `failing`."""

    def __init__(self) -> None:
        self.stream = FakeStream()
        self.failing: set[str] = set()
        self.after_batch: Callable[[list[str]], object] = len
        self.pauses: list[float] = []
        for text in "1234":
            self.stream.put("a", text)

    def handle(self, event: dict[str, Any], context: object) -> dict[str, Any]:
        texts = {r["dynamodb"]["SequenceNumber"]: r["dynamodb"]["NewImage"]["message"]["S"] for r in event["Records"]}
        self.batches.append(" ".join(texts.values()))
        self.after_batch(list(texts.values()))
        failed = [number for number, text in texts.items() if text in self.failing]
        return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}

    def work(self, *events: Callable[[], object], once: bool = False) -> str:
        """A new worker's batches. Each of `events` happens at a pause; Ctrl-C comes at the pause after the last."""
        self.batches: list[str] = []
        self.pauses.clear()
        remaining = list(events)

        def sleep(seconds: float) -> None:
            self.pauses.append(seconds)
            self.stream.now += seconds
            if remaining:
                remaining.pop(0)()
            elif not once:
                raise KeyboardInterrupt

        self.worker = StreamWorker(self.stream, self.stream, "messages", self.handle, sleep)
        if once:
            self.worker.run_once()
        else:
            with pytest.raises(KeyboardInterrupt):
                self.worker.run()
        return " | ".join(self.batches)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def no_event() -> None:
    """The event of most pauses."""


def test_every_start_reads_all_shards_from_their_oldest_record_to_the_tip(bench: Bench) -> None:
    for shard_id in "bcdef":
        bench.stream.put(shard_id, shard_id)
    bench.stream.shards["b"].closed = True
    for _ in range(2):
        assert sorted(bench.work(once=True).split(" | ")) == ["1 2 3", "4", *"bcdef"]
    assert bench.pauses == []


def test_empty_response_is_not_the_tip(bench: Bench) -> None:
    bench.stream.empty_pages = 2
    assert bench.work(once=True) == "1 2 3 | 4"


def test_once_ends_although_writers_never_pause(bench: Bench) -> None:
    bench.stream.created_at = datetime.now(UTC) + timedelta(hours=1)
    bench.after_batch = lambda texts: bench.stream.put("a", "later")
    batches = bench.work(once=True)
    assert batches.startswith("1 2 3 | 4 later")
    assert batches.count("|") <= 5


def test_running_worker_reads_new_records_and_new_shards(bench: Bench) -> None:
    def split() -> None:
        bench.stream.put("a", "5")
        bench.stream.shards["a"].closed = True
        bench.stream.put("b", "6")

    assert bench.work(split) == "1 2 3 | 4 | 5 | 6"
    ten_seconds = [no_event] * 40
    assert bench.work(lambda: bench.stream.put("c", "7"), *ten_seconds) == "1 2 3 | 6 | 4 5 | 7"
    assert bench.stream.discoveries < 10


def test_expired_iterator_leads_to_the_oldest_record(bench: Bench) -> None:
    def wait() -> None:
        bench.stream.now += ITERATOR_SECONDS
        bench.stream.put("a", "5")

    assert bench.work(wait, no_event, no_event) == "1 2 3 | 4 | 1 2 3 | 4 5"


def test_recreated_table_has_another_stream(bench: Bench) -> None:
    def recreate() -> None:
        bench.stream.arn = f"{ARN}-2"
        bench.stream.shards.clear()
        bench.stream.put("a", "new")

    assert bench.work(recreate, no_event, no_event) == "1 2 3 | 4 | new"


def test_worker_waits_for_an_unavailable_dynamodb_and_warns_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def toggle() -> None:
        bench.stream.unavailable = not bench.stream.unavailable

    assert bench.work(toggle, no_event, no_event, toggle, toggle, no_event) == "1 2 3 | 4 | 1 2 3 | 4"
    assert [record.getMessage() for record in caplog.records] == ["stream_unavailable"] * 2
    assert bench.pauses == [0.25, 1.0, 1.0, 1.0, 0.25, 1.0, 1.0]


def test_outage_during_a_delivery_is_not_the_fault_of_its_records(bench: Bench) -> None:
    def fail(texts: list[str]) -> None:
        bench.stream.unavailable = True
        raise ConnectionError

    def recover() -> None:
        bench.after_batch = len
        bench.stream.unavailable = False

    bench.after_batch = fail
    assert bench.work(no_event, recover) == "1 2 3 | 1 2 3 | 4"
    assert bench.worker.skipped == 0


@pytest.mark.parametrize("arn", ["", ARN])
def test_once_does_not_wait_for_a_missing_stream(bench: Bench, arn: str) -> None:
    bench.stream.arn, bench.stream.unavailable = arn, bool(arn)
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError" if arn else "no stream"):
        bench.work(once=True)


def test_failed_record_is_skipped_after_its_retries(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.failing = {"2"}
    assert bench.work(once=True) == "1 2 3 | 2 | 2 | 2 | 2 | 2 | 4"
    assert bench.pauses == [0, 0.2, 0.4, 0.8, 1.6]
    assert bench.worker.skipped == 1
    [skipped] = [record for record in caplog.records if record.getMessage() == "stream_record_skipped"]
    assert skipped.__dict__["fields"] == {
        "sequence_number": f"{2:021}",
        "keys": {"pk": {"S": "MSG#g"}, "sk": {"S": "002"}},
        "attempts": 6,
    }


def test_record_without_a_sequence_number_is_skipped_alone(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The handler raises: it cannot name the record."""
    del bench.stream.shards["a"].records[1]["dynamodb"]["SequenceNumber"]
    assert (bench.work(once=True), bench.worker.skipped) == ("1 | 3 | 4", 1)
    [skipped] = [record for record in caplog.records if record.getMessage() == "stream_record_skipped"]
    assert skipped.__dict__["fields"]["keys"] == {"pk": {"S": "MSG#g"}, "sk": {"S": "002"}}


def test_recovered_record_is_not_skipped(bench: Bench) -> None:
    bench.failing = {"2", "3"}
    assert bench.work(no_event, bench.failing.clear, once=True) == "1 2 3 | 2 | 2 | 3 | 4"
    assert bench.worker.skipped == 0


def test_exception_of_the_handler_fails_the_whole_batch(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(texts: list[str]) -> None:
        if len(texts) > 1:
            raise RuntimeError("secret text")

    bench.after_batch = fail
    assert bench.work(once=True) == "1 2 3 | 1 | 2 | 3 | 4"
    assert bench.worker.skipped == 0
    assert "secret text" not in str([vars(record).get("fields") for record in caplog.records])
