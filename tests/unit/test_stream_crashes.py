"""A worker that crashes between any two of its steps, and another one that goes on from what it left."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib.streams.dead_letters import DeadLetters
from tests.fake_streams import ARN
from tests.stream_bench import WorkerBench

MESSAGES = ["1", "2", "3", "4", "5"]


class Crashed(BaseException):
    """The process ends here: nothing catches it."""


class Steps:
    """Counts the steps of a program, and crashes at one of them."""

    def __init__(self) -> None:
        self.taken = self.crash_at = 0

    def take(self) -> None:
        self.taken += 1
        if self.taken == self.crash_at:
            raise Crashed

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any) -> Any:
            self.take()
            result = function(*arguments)
            self.take()
            return result

        return stepping


class Crashing(WorkerBench):
    """Two shards, one after the other, with a record that no handler takes; `done` is what was done."""

    def __init__(self, folder: Path, steps: Steps) -> None:
        super().__init__(folder)
        self.done: list[str] = []
        self.answer = steps.around(self.do)
        self.streams.add_shard("parent").closed = True
        self.streams.add_shard("child", parent="parent")
        for text in ("1", "2", "poison", "3"):
            self.streams.put("parent", text)
        for text in ("4", "5"):
            self.streams.put("child", text)

    def do(self, texts: list[str]) -> None:
        if "poison" in texts:
            raise RuntimeError
        self.done += texts

    def work_to_the_tip(self) -> None:
        self.work(*[lambda: None] * 9, once=True)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The steps: before and after the handler's work, the dead letter, and both halves of keeping a checkpoint."""
    made = Steps()
    for owner, name in [(Path, "write_text"), (Path, "replace"), (DeadLetters, "add")]:
        monkeypatch.setattr(owner, name, made.around(getattr(owner, name)))
    return made


def test_a_crash_between_any_two_steps_loses_nothing(tmp_path: Path, steps: Steps) -> None:
    for steps.crash_at in itertools.count(1):
        steps.taken = 0
        bench = Crashing(tmp_path / str(steps.crash_at), steps)
        try:
            bench.work_to_the_tip()
            break  # there are no more steps to crash at
        except Crashed:
            bench.work_to_the_tip()
        assert list(dict.fromkeys(bench.done)) == MESSAGES  # in their order, and
        assert len(bench.done) <= len(MESSAGES) + 2  # again only what was in the batch of the crash
        assert bench.dead_letters.count in (1, 2)
        assert bench.checkpoints() == {ARN: {"parent": "SHARD_END", "child": f"{6:021}"}}
    assert bench.done == MESSAGES
    assert steps.taken > 20
