"""Turns: in the order of asking, lost by nobody, and with rests for the writers of other processes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import SimpleNamespace

import pytest

from lib.ddb import turns as module
from lib.ddb.errors import Contended
from lib.ddb.turns import Turns
from tests.dev import eventually

LONG = 10.0


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def ask(turns: Turns, threads: ThreadPoolExecutor) -> Callable[..., Future[None]]:
    """Lets another thread ask for the turn of "a", returns when it waits there, and notes in a list when it came."""

    def ask(came: list[int], number: int, *, seconds: float = LONG) -> Future[None]:
        def wait() -> None:
            with turns.of("a", seconds=seconds):
                came.append(number)

        waiting = len(turns._queues["a"].places)
        future = threads.submit(wait)
        assert eventually(lambda: len(turns._queues["a"].places) > waiting)
        return future

    return ask


def replace_sleep(monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], object]) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))


def test_those_who_wait_come_in_their_order_and_before_who_had_the_turn(
    turns: Turns, ask: Callable[..., Future[None]]
) -> None:
    came: list[int] = []
    with turns.of("a", seconds=LONG):
        others = [ask(came, number) for number in range(6)]
    with turns.of("a", seconds=LONG):
        assert came == [0, 1, 2, 3, 4, 5]
    assert [other.result() for other in others] == [None] * 6
    assert turns._queues == {}


def test_who_waits_too_long_leaves_the_queue_and_the_next_one_comes(
    turns: Turns, ask: Callable[..., Future[None]]
) -> None:
    came: list[int] = []
    with turns.of("a", seconds=LONG):
        impatient, patient = ask(came, 1, seconds=0.05), ask(came, 2)
        assert isinstance(impatient.exception(LONG), Contended)
        assert not patient.done()
    patient.result(LONG)
    assert came == [2]
    assert turns._queues == {}


def test_a_turn_that_comes_when_waiting_for_it_has_just_ended_is_passed_on(
    turns: Turns, threads: ThreadPoolExecutor
) -> None:
    """Whatever the moment: no two have the turn at once, and none is left waiting for one that nobody has."""
    alone, had = Lock(), []

    def come_and_go(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        for _ in range(200):
            try:
                with turns.of("a", seconds=chance.uniform(0, 0.002)):
                    assert alone.acquire(blocking=False)
                    time.sleep(chance.uniform(0, 0.001))
                    alone.release()
                    had.append(seed)
            except Contended:
                pass

    list(threads.map(come_and_go, range(8)))
    assert set(had) == set(range(8))
    assert turns._queues == {}


def test_a_turn_ends_with_an_error_too(turns: Turns, ask: Callable[..., Future[None]]) -> None:
    came: list[int] = []
    others: list[Future[None]] = []

    def fail() -> None:
        with turns.of("a", seconds=LONG):
            others.append(ask(came, 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    others[0].result(LONG)
    assert came == [1]


def test_other_names_do_not_wait(turns: Turns) -> None:
    with turns.of("a", seconds=LONG), turns.of("b", seconds=0):
        assert set(turns._queues) == {"a", "b"}


def test_there_is_one_try_at_least_and_more_until_the_time_is_up(turns: Turns) -> None:
    with turns.of("a", seconds=0) as tries:
        assert len(list(tries)) == 1
    began = time.monotonic()
    with turns.of("a", seconds=0.1) as tries:
        count = sum(1 for _ in tries if not time.sleep(0.01))
    assert 2 <= count <= 10
    assert time.monotonic() - began < 1


def test_waiting_is_taken_off_the_time_for_tries(turns: Turns, threads: ThreadPoolExecutor) -> None:
    def count_tries() -> int:
        with turns.of("a", seconds=0.5) as tries:
            return sum(1 for _ in tries if not time.sleep(0.2))

    with turns.of("a", seconds=LONG):
        waiting = threads.submit(count_tries)
        time.sleep(0.4)
    assert waiting.result(LONG) == 1


@pytest.mark.parametrize(("longest", "least"), [(LONG, 0.05), (0.02, 0.02)])
def test_a_process_whose_writers_queue_up_rests_after_a_row_of_turns(
    longest: float, least: float, turns: Turns, ask: Callable[..., Future[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IN_A_ROW", 2)
    monkeypatch.setattr(module, "_LONGEST_REST_SECONDS", longest)
    came: list[int] = []
    rests: list[tuple[float, int]] = []
    replace_sleep(monkeypatch, lambda seconds: rests.append((seconds, len(came))))
    with turns.of("a", seconds=LONG):
        others = [ask(came, number) for number in range(5)]
        time.sleep(0.2)
    for other in others:
        other.result(LONG)

    assert [after for _, after in rests] == [1, 3]
    assert least <= rests[0][0] <= longest


def test_who_writes_alone_never_rests(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_sleep(monkeypatch, lambda seconds: pytest.fail("rests"))
    for _ in range(5 * module._IN_A_ROW):
        with turns.of("a", seconds=LONG):
            pass
