"""Batches reach a handler as from Lambda: partial failures, bisecting, retries with pauses, dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib.ddb.errors import StoreUnavailable
from lib.streams.dead_letters import DeadLetters
from lib.streams.delivery import Delivery
from lib.streams.records import Record
from tests.clocks import FrozenTime
from tests.fake_streams import FakeStop
from tests.stores import SteppingClock

SECRET = "what somebody wrote"


def record(number: int) -> Record:
    key = {"pk": {"S": "MSG#g"}, "sk": {"S": str(number)}}
    change = {"Keys": key, "SequenceNumber": f"{number}", "NewImage": {**key, "message": {"S": SECRET}}}
    return {"eventID": f"e{number}", "eventName": "INSERT", "eventSourceARN": "arn", "dynamodb": change}


def failing(*numbers: object) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers]}


class Bench:
    """A handler that answers as told, and a record of what it was given."""

    def __init__(self, folder: Path, answer: Callable[[list[str]], Any], *, retries: int = 2) -> None:
        self.calls: list[str] = []
        self.path = folder / "letters" / "dead.jsonl"
        self.stop = FakeStop(FrozenTime())
        self.stop.events = [lambda: None] * 100
        self.checks: list[Exception] = []
        self.dead_letters = DeadLetters(self.path)
        self._answer = answer
        self.delivery = Delivery(
            self.handle, self.dead_letters, self.stop, retries=retries, check=self.check, clock=SteppingClock()
        )

    def handle(self, event: dict[str, Any], context: object) -> Any:
        numbers = [each["dynamodb"]["SequenceNumber"] for each in event["Records"]]
        self.calls.append(" ".join(numbers))
        return self._answer(numbers)

    def check(self) -> None:
        if self.checks:
            raise self.checks.pop()

    def deliver(self, count: int) -> list[int]:
        return list(self.delivery.deliver("shard-1", [record(number) for number in range(1, count + 1)]))

    def letters(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


def broken(poison: str) -> Callable[[list[str]], Any]:
    """A handler that raises for a batch with the poison in it."""

    def answer(numbers: list[str]) -> None:
        if poison in numbers:
            raise RuntimeError(SECRET)

    return answer


@pytest.mark.parametrize(
    "answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}], ids=["none", "empty", "list", "null"]
)
def test_an_answer_without_failures_settles_the_batch(tmp_path: Path, answer: object) -> None:
    bench = Bench(tmp_path, lambda numbers: answer)
    assert bench.deliver(3) == [3]
    assert bench.calls == ["1 2 3"]
    assert bench.stop.pauses == []
    assert not bench.path.exists()


def test_it_resumes_at_the_lowest_failed_record(tmp_path: Path) -> None:
    answers = [failing("4", "3"), failing()]
    bench = Bench(tmp_path, lambda numbers: answers.pop(0))
    assert bench.deliver(5) == [2, 3]
    assert bench.calls == ["1 2 3 4 5", "3 4 5"]


@pytest.mark.parametrize(
    "answer",
    [
        failing("9"),
        failing("2", "9"),
        failing(None),
        failing(""),
        failing(["2"]),
        {"batchItemFailures": [{"itemIdentifer": "2"}]},
        {"batchItemFailures": ["2"]},
        {"batchItemFailures": 2},
        "2",
    ],
    ids=str,
)
def test_an_answer_that_makes_no_sense_fails_the_whole_batch(tmp_path: Path, answer: object) -> None:
    answers = [answer, None, None]
    bench = Bench(tmp_path, lambda numbers: answers.pop(0))
    assert bench.deliver(2) == [1, 1]
    assert bench.calls == ["1 2", "1", "2"]


def test_a_failed_batch_is_bisected_until_the_poison_is_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, broken("6"), retries=1)
    assert sum(bench.deliver(8)) == 8
    assert bench.calls == ["1 2 3 4 5 6 7 8", "1 2 3 4", "5 6 7 8", "5 6", "5", "6", "6", "7 8"]
    assert [letter["sequence_number"] for letter in bench.letters()] == ["6"]


def test_a_record_that_stays_bad_is_tried_so_often_with_growing_pauses(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda numbers: failing("1") if "1" in numbers else None, retries=8)
    assert bench.deliver(2) == [1, 1]
    assert bench.calls == ["1 2", *["1"] * 9, "2"]
    assert bench.stop.pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert bench.dead_letters.count == 1


def test_a_record_that_recovers_is_no_dead_letter(tmp_path: Path) -> None:
    answers = [failing("1"), failing("1"), None]
    bench = Bench(tmp_path, lambda numbers: answers.pop(0), retries=2)
    assert bench.deliver(1) == [1]
    assert bench.letters() == []


def test_each_record_has_its_own_retries(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda numbers: failing(*numbers), retries=1)
    assert sum(bench.deliver(3)) == 3
    assert [len(letter["attempts"]) for letter in bench.letters()] == [2, 2, 2]


def test_retries_of_a_record_that_recovered_are_not_those_of_the_next(tmp_path: Path) -> None:
    answers = [failing("1"), failing("1"), failing("1"), None, failing("2"), failing("2"), None]
    bench = Bench(tmp_path, lambda numbers: answers.pop(0), retries=2)
    assert bench.deliver(2) == [1, 1]
    assert bench.letters() == []


def test_a_dead_letter_tells_what_failed_when_and_how_and_can_be_delivered_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, broken("1"), retries=1)
    bench.deliver(1)
    [letter] = bench.letters()
    assert letter == {
        "stream_arn": "arn",
        "shard_id": "shard-1",
        "sequence_number": "1",
        "keys": {"pk": {"S": "MSG#g"}, "sk": {"S": "1"}},
        "attempts": [
            {"at": "2026-01-02T12:00:00.000000+00:00", "error": "RuntimeError"},
            {"at": "2026-01-02T12:00:01.000000+00:00", "error": "RuntimeError"},
        ],
        "record": record(1),
    }


def test_dead_letters_are_for_their_owner_alone_also_in_a_file_that_was_there(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda numbers: failing(*numbers), retries=0)
    bench.path.parent.mkdir()
    bench.path.write_text('{"sequence_number": "0"}\n')
    bench.path.chmod(0o644)
    bench.deliver(2)
    assert [letter["sequence_number"] for letter in bench.letters()] == ["0", "1", "2"]
    assert bench.path.stat().st_mode & 0o777 == 0o600


def test_no_log_line_holds_what_people_wrote(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="cruddur")
    Bench(tmp_path, broken("1"), retries=0).deliver(1)
    events = [each.getMessage() for each in caplog.records]
    assert events == ["stream_handler_failed", "stream_batch", "stream_dead_letter"]
    assert SECRET not in str([vars(each).get("fields") for each in caplog.records])


def test_a_failure_while_dynamodb_is_away_is_not_the_records(tmp_path: Path) -> None:
    bench = Bench(tmp_path, broken("2"), retries=0)
    bench.checks = [StoreUnavailable("EndpointConnectionError")]
    with pytest.raises(StoreUnavailable):
        bench.deliver(2)
    assert bench.calls == ["1 2"]
    assert bench.letters() == []


def test_a_stop_leaves_the_rest_for_the_next_time(tmp_path: Path) -> None:
    def answer(numbers: list[str]) -> Any:
        bench.stop.asked = True
        return failing("3")

    bench = Bench(tmp_path, answer)
    assert bench.deliver(4) == [2]
    assert bench.calls == ["1 2 3 4"]


def test_a_stop_ends_the_retries(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda numbers: failing("1"), retries=5)
    bench.stop.events = []  # the first pause is the end
    assert bench.deliver(1) == []
    assert bench.calls == ["1"]
    assert bench.letters() == []
