"""The loop that reads a stream: shards in their order, failures, what is lost or away, and the tip. No time passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lib.ddb.errors import StoreUnavailable
from tests.support.clocks import FrozenTime
from tests.support.fake_streams import ARN, ITERATOR_SECONDS, FakeStop, FakeStreams
from tools.stream_worker.source import StreamSource
from tools.stream_worker.worker import StreamWorker


class Bench:
    """A stream with one open shard, `a`, and four messages; and workers on it, whose handler answers as told."""

    def __init__(self) -> None:
        self.time = FrozenTime()
        self.streams = FakeStreams(self.time)
        self.batches: list[str] = []
        self.answer: Callable[[list[str]], Any] = lambda texts: None
        self.streams.add_shard("a")
        for text in "1234":
            self.streams.put("a", text)

    def handle(self, event: dict[str, Any], context: object) -> Any:
        json.dumps(event)
        texts = [each["dynamodb"]["NewImage"]["message"]["S"] for each in event["Records"]]
        self.batches.append(" ".join(texts))
        return self.answer(texts)

    def work(self, *events: Callable[[], object], once: bool = False, batch_size: int = 100, retries: int = 1) -> str:
        """A new worker; each of `events` happens at one of its pauses, and after the last one it is stopped.

        Everything that was delivered, batches side by side.
        """
        self.stop, self.batches = FakeStop(self.time), []
        self.stop.events = list(events)
        source = StreamSource(self.streams, self.streams, "messages")
        self.worker = StreamWorker(
            source, self.handle, self.stop, retries=retries, batch_size=batch_size, clock=self.time.monotonic
        )
        self.worker.run_once() if once else self.worker.run()
        return " | ".join(self.batches)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def failing(*places: int) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": f"{place:021}"} for place in places]}


def nothing() -> None:
    """What happens at most pauses."""


def test_every_start_reads_from_the_oldest_record_to_the_tip(bench: Bench) -> None:
    for event, pk in [("MODIFY", "MSG#g"), ("REMOVE", "MSG#g"), ("INSERT", "GRP#u"), ("INSERT", "CONV#g")]:
        bench.streams.put("a", "other", event=event, pk=pk)
    assert [bench.work(once=True), bench.work(once=True)] == ["1 2 3 | 4"] * 2
    assert bench.stop.pauses == []


def test_an_empty_answer_is_not_taken_for_the_tip_at_once(bench: Bench) -> None:
    bench.streams.empty_pages = 2
    assert bench.work(once=True) == "1 2 3 | 4"


def test_a_batch_has_at_most_so_many_records(bench: Bench) -> None:
    bench.streams.page_size = 10
    assert bench.work(once=True, batch_size=3) == "1 2 3 | 4"


def test_a_child_is_read_when_its_parent_is_finished_or_gone(bench: Bench) -> None:
    bench.streams.add_shard("child", parent="a")
    bench.streams.put("child", "5")
    bench.streams.add_shard("orphan", parent="long gone")
    bench.streams.put("orphan", "6")
    assert bench.work(once=True) == "1 2 3 | 6 | 4"
    bench.streams.shards["a"].closed = True
    assert bench.work(once=True) == "1 2 3 | 6 | 4 | 5"


def test_what_arrives_and_shards_that_appear_while_it_runs_are_found(bench: Bench) -> None:
    def split() -> None:
        bench.streams.put("a", "5")
        bench.streams.shards["a"].closed = True
        bench.streams.add_shard("child", parent="a")
        bench.streams.put("child", "6")

    def another() -> None:
        bench.streams.add_shard("b")
        bench.streams.put("b", "7")
        bench.time.ahead += 10

    assert bench.work(split, another) == "1 2 3 | 4 | 5 | 6 | 7"


@pytest.mark.parametrize("trimmed", [0, 4])
def test_an_iterator_that_is_too_old_leads_to_the_oldest_record(bench: Bench, trimmed: int) -> None:
    def wait() -> None:
        bench.time.ahead += ITERATOR_SECONDS
        bench.streams.put("a", "5")
        bench.streams.shards["a"].trimmed = trimmed

    assert bench.work(wait, nothing, nothing) == ("1 2 3 | 4 | 5" if trimmed else "1 2 3 | 4 | 1 2 3 | 4 5")


def test_a_table_that_was_made_anew_starts_anew(bench: Bench) -> None:
    def recreate() -> None:
        bench.streams.arn = f"{ARN}-2"
        bench.streams.shards.clear()
        bench.streams.add_shard("a")
        bench.streams.put("a", "new")

    assert bench.work(recreate, nothing, nothing) == "1 2 3 | 4 | new"


def test_a_dynamodb_that_is_away_is_waited_for_and_said_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="cruddur")

    def leave() -> None:
        bench.streams.away = True

    def come_back() -> None:
        bench.streams.away = False

    bench.work(leave, nothing, nothing, come_back, nothing)
    said = [each.getMessage() for each in caplog.records if "available" in each.getMessage()]
    assert said == ["stream_unavailable", "stream_available"]
    assert bench.stop.pauses[:4] == [0.25, 1.0, 1.0, 1.0]


def test_an_outage_during_a_delivery_is_no_fault_of_the_records(bench: Bench) -> None:
    def fail(texts: list[str]) -> None:
        bench.streams.away = True
        raise ConnectionError

    def come_back() -> None:
        bench.answer = lambda texts: None
        bench.streams.away = False

    bench.answer = fail
    assert bench.work(nothing, nothing, come_back) == "1 2 3 | 1 2 3 | 4"
    assert bench.worker.skipped == 0


@pytest.mark.parametrize("arn", ["", ARN])
def test_once_does_not_wait_for_a_stream_that_is_not_there(bench: Bench, arn: str) -> None:
    bench.streams.arn, bench.streams.away = arn, bool(arn)
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError" if arn else "no stream"):
        bench.work(once=True)


def test_poison_is_skipped_after_its_tries_and_what_is_behind_it_is_done(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def choke(texts: list[str]) -> None:
        if "2" in texts:
            raise RuntimeError("of what somebody wrote")

    bench.answer = choke
    assert bench.work(*[nothing] * 9, once=True, retries=8) == f"1 2 3 | 1 |{' 2 |' * 9} 3 | 4"
    assert bench.stop.pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert bench.worker.skipped == 1
    [skipped] = [each for each in caplog.records if each.getMessage() == "stream_record_skipped"]
    assert skipped.__dict__["fields"]["keys"] == {"pk": {"S": "MSG#g"}, "sk": {"S": "002"}}
    assert "somebody wrote" not in str([vars(each).get("fields") for each in caplog.records])


def test_a_failed_record_is_delivered_again_with_those_behind_it(bench: Bench) -> None:
    answers = [failing(3, 2), failing(2), None, None, None]
    bench.answer = lambda texts: answers.pop(0)
    assert bench.work(nothing, once=True) == "1 2 3 | 2 | 2 | 3 | 4"
    assert bench.worker.skipped == 0


@pytest.mark.parametrize(
    "answer",
    [
        failing(9),
        failing(2, 9),
        {"batchItemFailures": [{"itemIdentifer": "2"}]},
        {"batchItemFailures": [{"itemIdentifier": ["2"]}]},
        {"batchItemFailures": 2},
        "2",
    ],
    ids=str,
)
def test_an_answer_that_makes_no_sense_fails_the_whole_batch(bench: Bench, answer: object) -> None:
    bench.answer = lambda texts: answer if len(texts) > 1 else {"batchItemFailures": None}
    assert bench.work(once=True) == "1 2 3 | 1 | 2 | 3 | 4"


def test_who_is_stopped_in_the_middle_of_a_page_reads_it_again_to_drain_the_stream(bench: Bench) -> None:
    def stopped(texts: list[str]) -> Any:
        bench.stop.asked = True
        return failing(2)

    bench.answer = stopped
    assert bench.work() == "1 2 3"
    bench.answer, bench.stop.asked = (lambda texts: None), False
    bench.worker.run_once()
    assert bench.batches[1:] == ["1 2 3", "4"]
    assert bench.worker.skipped == 0
