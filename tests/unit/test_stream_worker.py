"""The reader of a stream: shards in their order, checkpoints, what is lost or away, and the tip. No time passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.ddb.errors import StoreUnavailable
from lib.streams.checkpoints import Checkpoints, CheckpointsInUse
from lib.streams.shards import readable
from lib.streams.source import Shard
from tests.fake_streams import ARN, ITERATOR_SECONDS, FakeStreams
from tests.stream_bench import WorkerBench


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    return WorkerBench(tmp_path)


@pytest.fixture
def one(bench: WorkerBench) -> FakeStreams:
    """A stream with one open shard, `a`, and four messages."""
    bench.streams.add_shard("a")
    for text in "1234":
        bench.streams.put("a", text)
    return bench.streams


def test_once_reads_from_the_oldest_record_to_the_tip(bench: WorkerBench, one: FakeStreams) -> None:
    bench.work(once=True)
    assert bench.delivered() == "1 2 3 | 4"
    assert bench.checkpoints() == {ARN: {"a": f"{4:021}"}}
    assert bench.stop.pauses == []


def test_a_second_run_goes_on_where_the_first_one_ended(bench: WorkerBench, one: FakeStreams) -> None:
    bench.work(once=True)
    one.put("a", "5")
    bench.delivered()
    bench.work(once=True)
    assert bench.delivered() == "5"
    bench.work(once=True)
    assert bench.delivered() == ""


def test_what_the_filter_drops_is_passed_and_not_read_again(bench: WorkerBench, one: FakeStreams) -> None:
    for event, pk in [("MODIFY", "MSG#g"), ("REMOVE", "MSG#g"), ("INSERT", "GRP#u"), ("INSERT", "CONV#g")]:
        one.put("a", "other", event=event, pk=pk)
    bench.work(once=True)
    assert bench.delivered() == "1 2 3 | 4"
    assert bench.checkpoints() == {ARN: {"a": f"{8:021}"}}


def test_an_empty_answer_is_not_taken_for_the_tip_at_once(bench: WorkerBench, one: FakeStreams) -> None:
    one.empty_pages = 2
    bench.work(once=True)
    assert bench.delivered() == "1 2 3 | 4"


def test_once_on_an_empty_stream_ends(bench: WorkerBench) -> None:
    bench.work(once=True)
    bench.streams.add_shard("a")
    bench.work(once=True)
    assert bench.delivered() == ""


def test_a_child_is_read_when_its_parent_is_finished(bench: WorkerBench, one: FakeStreams) -> None:
    one.add_shard("grandchild", parent="child")
    one.put("grandchild", "7")
    child = one.add_shard("child", parent="a")
    one.put("child", "5")
    one.put("child", "6")
    bench.work(once=True)
    assert bench.delivered() == "1 2 3 | 4"  # the parent is open still

    one.shards["a"].closed = child.closed = True
    bench.work(once=True)
    assert bench.delivered() == "5 6 | 7"
    assert bench.checkpoints() == {ARN: {"a": "SHARD_END", "child": "SHARD_END", "grandchild": f"{5:021}"}}


def test_children_of_one_parent_are_both_read(bench: WorkerBench, one: FakeStreams) -> None:
    one.shards["a"].closed = True
    for shard_id in ("left", "right"):
        one.add_shard(shard_id, parent="a")
        one.put(shard_id, shard_id)
    bench.work(once=True)
    assert bench.delivered() == "1 2 3 | 4 | left | right"


def test_a_child_whose_parents_records_are_gone_is_read(bench: WorkerBench) -> None:
    bench.streams.add_shard("child", parent="long gone")
    bench.streams.put("child", "1")
    bench.work(once=True)
    assert bench.delivered() == "1"


def test_a_parent_is_not_finished_before_its_last_record_is_settled(bench: WorkerBench, one: FakeStreams) -> None:
    one.shards["a"].closed = True
    one.add_shard("child", parent="a")
    one.put("child", "5")

    def stopped(texts: list[str]) -> object:
        bench.stop.asked = "4" in texts
        return {"batchItemFailures": [{"itemIdentifier": f"{4:021}"}]} if "4" in texts else None

    bench.answer = stopped
    bench.work(once=True)
    assert bench.delivered() == "1 2 3 | 4"
    assert bench.checkpoints() == {ARN: {"a": f"{3:021}"}}
    bench.answer = lambda texts: None
    bench.work(once=True)
    assert bench.delivered() == "4 | 5"


def test_only_shards_whose_parent_is_finished_or_gone_are_readable() -> None:
    shards = [Shard("done", None), Shard("of done", "done"), Shard("open", None), Shard("of open", "open")]
    shards += [Shard("of gone", "gone")]
    assert [shard.id for shard in readable(shards, lambda shard_id: shard_id == "done")] == [
        "of done",
        "open",
        "of gone",
    ]


def test_shards_that_appear_while_it_runs_are_found(bench: WorkerBench, one: FakeStreams) -> None:
    def split() -> None:
        one.shards["a"].closed = True
        one.add_shard("child", parent="a")
        one.put("child", "5")

    def another() -> None:
        one.add_shard("b")
        one.put("b", "6")
        bench.time.ahead += 10

    bench.work(split, another)
    assert bench.delivered() == "1 2 3 | 4 | 5 | 6"


def test_what_arrives_while_it_runs_is_delivered_at_the_next_look(bench: WorkerBench, one: FakeStreams) -> None:
    bench.work(lambda: one.put("a", "5"))
    assert bench.delivered() == "1 2 3 | 4 | 5"
    assert bench.stop.pauses == [0.25, 0.25]


def test_shards_that_are_gone_are_forgotten(bench: WorkerBench, one: FakeStreams) -> None:
    one.shards["a"].closed = True
    one.add_shard("child", parent="a")
    bench.work(once=True)
    assert bench.checkpoints() == {ARN: {"a": "SHARD_END"}}
    del one.shards["a"]
    one.put("child", "5")
    bench.work(once=True)
    assert bench.checkpoints() == {ARN: {"child": f"{5:021}"}}


def test_a_batch_has_at_most_so_many_records(bench: WorkerBench, one: FakeStreams) -> None:
    one.page_size = 10
    bench.work(once=True, batch_size=3)
    assert bench.delivered() == "1 2 3 | 4"
    assert one.reads == 4  # the page, and three times nothing


def test_a_batch_waits_for_its_window_and_its_checkpoint_too(bench: WorkerBench, one: FakeStreams) -> None:
    waiting = []

    def look() -> None:
        waiting.append((list(bench.batches), bench.path.exists()))
        one.put("a", "5")

    bench.work(look, lambda: None, lambda: None, lambda: None, lambda: None, window=1)
    assert waiting == [([], False)]
    assert bench.delivered() == "1 2 3 4 5"


def test_a_full_batch_does_not_wait_for_its_window(bench: WorkerBench, one: FakeStreams) -> None:
    bench.work(batch_size=3, window=1000)
    assert bench.delivered() == "1 2 3"  # the fourth waits, and is delivered another time:
    assert bench.checkpoints() == {ARN: {"a": f"{3:021}"}}
    bench.work(once=True, window=1000)
    assert bench.delivered() == "4"


def test_the_last_records_of_a_closed_shard_do_not_wait(bench: WorkerBench, one: FakeStreams) -> None:
    one.shards["a"].closed = True
    one.add_shard("child", parent="a").closed = True
    one.put("child", "5")
    bench.work(window=1000)
    assert bench.delivered() == "1 2 3 4 | 5"


def test_an_expired_iterator_is_replaced_and_nothing_comes_twice(bench: WorkerBench, one: FakeStreams) -> None:
    def wait() -> None:
        bench.time.ahead += ITERATOR_SECONDS
        one.put("a", "5")

    bench.work(wait)
    assert bench.delivered() == "1 2 3 | 4 | 5"


def test_an_expired_iterator_does_not_lose_the_records_that_wait_for_their_window(
    bench: WorkerBench, one: FakeStreams
) -> None:
    def wait() -> None:
        bench.time.ahead += ITERATOR_SECONDS
        one.put("a", "5")

    bench.work(wait, window=ITERATOR_SECONDS)
    assert bench.delivered() == "1 2 3 4 5"


def test_a_checkpoint_that_the_stream_no_longer_has_leads_to_the_oldest_record(
    bench: WorkerBench, one: FakeStreams
) -> None:
    bench.work(once=True)
    one.shards["a"].trimmed = 4
    one.put("a", "5")
    bench.delivered()
    bench.work(once=True)
    assert bench.delivered() == "5"


@pytest.mark.parametrize("code", ["TrimmedDataAccessException", "ValidationException", "InternalFailure"])
def test_a_stream_that_was_emptied_and_filled_again_is_read_from_its_beginning(
    bench: WorkerBench, one: FakeStreams, code: str
) -> None:
    one.lost_code = code
    bench.work(once=True)
    one.shards["a"].records.clear()
    one.put("a", "new")
    bench.delivered()
    bench.work(once=True)
    assert bench.delivered() == "new"


def test_records_that_are_gone_while_it_sleeps_are_passed(bench: WorkerBench, one: FakeStreams) -> None:
    def trim() -> None:
        for text in "567":
            one.put("a", text)
        one.shards["a"].trimmed = 6

    bench.work(trim)
    assert bench.delivered() == "1 2 3 | 4 | 7"


def test_a_table_that_was_made_anew_starts_anew(bench: WorkerBench, one: FakeStreams) -> None:
    def recreate() -> None:
        one.arn = f"{ARN}-2"
        one.shards.clear()
        one.add_shard("a")
        one.put("a", "new")

    bench.work(recreate, lambda: None, lambda: None)
    assert bench.delivered() == "1 2 3 | 4 | new"
    assert list(bench.checkpoints()) == [f"{ARN}-2"]


def test_a_dynamodb_that_is_away_is_waited_for_and_said_once(
    bench: WorkerBench, one: FakeStreams, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="cruddur")

    def leave() -> None:
        one.away = True

    def come_back() -> None:
        one.put("a", "5")
        one.away = False

    bench.work(leave, lambda: None, lambda: None, come_back)
    assert bench.delivered() == "1 2 3 | 4 | 5"
    said = [each.getMessage() for each in caplog.records if "available" in each.getMessage()]
    assert said == ["stream_unavailable", "stream_available"]
    assert bench.stop.pauses == [0.25, 1.0, 1.0, 1.0, 0.25]


def test_an_outage_during_a_delivery_makes_no_dead_letters(bench: WorkerBench, one: FakeStreams) -> None:
    def fail(texts: list[str]) -> None:
        one.away = True
        raise ConnectionError

    def come_back() -> None:
        bench.answer = lambda texts: None
        one.away = False

    bench.answer = fail
    bench.work(lambda: None, lambda: None, come_back)
    assert bench.delivered() == "1 2 3 | 1 2 3 4"
    assert bench.dead_letters.count == 0


@pytest.mark.parametrize("arn", ["", ARN])
def test_once_does_not_wait_for_a_stream_that_is_not_there(bench: WorkerBench, one: FakeStreams, arn: str) -> None:
    one.arn, one.away = arn, bool(arn)
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError" if arn else "no stream"):
        bench.work(once=True)


def test_a_poison_record_does_not_keep_those_behind_it(bench: WorkerBench, one: FakeStreams) -> None:
    def choke(texts: list[str]) -> None:
        if "2" in texts:
            raise RuntimeError

    bench.answer = choke
    bench.stop.events = []
    bench.work(lambda: None, lambda: None)
    assert bench.delivered() == "1 2 3 | 1 2 | 1 | 2 | 2 | 3 | 4"
    assert bench.dead_letters.count == 1
    assert bench.checkpoints() == {ARN: {"a": f"{4:021}"}}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"another stream": {"a": "SHARD_END"}}'),
        *(f'{{"{ARN}": {positions}}}' for positions in ("null", '{"a": "no position"}', '{"a": 4}')),
    ],
)
def test_checkpoints_that_cannot_be_read_are_started_anew(bench: WorkerBench, one: FakeStreams, text: str) -> None:
    bench.path.parent.mkdir()
    bench.path.write_text(text)
    bench.work(once=True)
    assert bench.delivered() == "1 2 3 | 4"
    assert bench.checkpoints() == {ARN: {"a": f"{4:021}"}}


def test_two_workers_do_not_share_their_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.json"
    with Checkpoints(path), pytest.raises(CheckpointsInUse, match=r"in use .* --checkpoints"), Checkpoints(path):
        pass
    with Checkpoints(path):
        pass
