"""The circuit breaker of a dependency: when it opens, what it refuses, and how it closes."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, Event

import pytest

from lib.circuit_breaker import FAILURES, PAUSE_SECONDS, SILENT_SECONDS, STALL_SECONDS, CircuitBreaker, CircuitOpen
from tests.support.clocks import FrozenTime, time_limit


class Silence(Exception):
    """No response came."""


@pytest.fixture
def clock() -> FrozenTime:
    return FrozenTime()


@pytest.fixture
def breaker(clock: FrozenTime, caplog: pytest.LogCaptureFixture) -> CircuitBreaker:
    caplog.set_level(logging.INFO, logger="cruddur")
    return CircuitBreaker("engine", lambda error: isinstance(error, Silence), timer=clock.monotonic)


def call(breaker: CircuitBreaker, outcome: Exception | None = None) -> str:
    """Make a call; return `sent`, or `refused` if the breaker did not admit it."""
    with suppress(Silence, ValueError):
        try:
            with breaker.call():
                if outcome:
                    raise outcome
        except CircuitOpen:
            return "refused"
    return "sent"


def open_circuit(breaker: CircuitBreaker, clock: FrozenTime) -> None:
    for _ in range(FAILURES):
        clock.ahead += SILENT_SECONDS
        assert call(breaker, Silence()) == "sent"
    assert call(breaker) == "refused"


def test_breaker_opens_after_calls_in_a_row_without_a_response(
    breaker: CircuitBreaker, clock: FrozenTime, caplog: pytest.LogCaptureFixture
) -> None:
    open_circuit(breaker, clock)
    assert [call(breaker) for _ in range(10)] == ["refused"] * 10
    [record] = caplog.records
    assert (record.levelname, record.message) == ("WARNING", "engine_unavailable")
    assert record.__dict__["fields"] == {"reason": "Silence"}


def test_short_interruption_does_not_open_the_breaker(breaker: CircuitBreaker, clock: FrozenTime) -> None:
    for _ in range(10 * FAILURES):
        call(breaker, Silence())
    clock.ahead += SILENT_SECONDS
    assert call(breaker) == "sent"


@pytest.mark.parametrize("response", [None, ValueError("a response that refuses")])
def test_response_of_any_kind_keeps_the_breaker_closed(
    breaker: CircuitBreaker, clock: FrozenTime, response: Exception | None
) -> None:
    for _ in range(10):
        for _ in range(FAILURES - 1):
            assert call(breaker, Silence()) == "sent"
            clock.ahead += SILENT_SECONDS
        assert call(breaker, response) == "sent"


def test_one_call_that_is_slow_in_all_its_tries_does_not_open_the_breaker(
    breaker: CircuitBreaker, clock: FrozenTime
) -> None:
    for _ in range(3):
        with pytest.raises(Silence), breaker.call():  # noqa: PT012
            clock.ahead += 2
            raise Silence
    assert call(breaker) == "sent"


def test_open_breaker_admits_one_probe_at_a_time(breaker: CircuitBreaker, clock: FrozenTime) -> None:
    open_circuit(breaker, clock)
    for _ in range(3):
        clock.ahead += PAUSE_SECONDS
        is_probing, others_are_done = Event(), Event()

        def probe(is_probing: Event = is_probing, others_are_done: Event = others_are_done) -> None:
            with breaker.call():
                is_probing.set()
                assert others_are_done.wait(5)
                raise Silence

        with ThreadPoolExecutor(1) as threads:
            attempt = threads.submit(probe)
            assert is_probing.wait(5)
            clock.ahead += 2 * PAUSE_SECONDS
            assert [call(breaker) for _ in range(20)] == ["refused"] * 20
            others_are_done.set()
            assert isinstance(attempt.exception(), Silence)
        assert call(breaker) == "refused"  # until the next pause is over


def test_probe_with_a_response_closes_the_breaker(
    breaker: CircuitBreaker, clock: FrozenTime, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        open_circuit(breaker, clock)
        clock.ahead += PAUSE_SECONDS
        assert [call(breaker) for _ in range(10)] == ["sent"] * 10
    assert caplog.messages == ["engine_unavailable", "engine_back"] * 2


def test_simultaneous_timeouts_open_the_breaker_once(
    breaker: CircuitBreaker, clock: FrozenTime, caplog: pytest.LogCaptureFixture
) -> None:
    began, ended = Barrier(FAILURES + 1, timeout=5), Barrier(FAILURES + 1, timeout=5)

    def hang(_: int) -> None:
        with pytest.raises(Silence), breaker.call():  # noqa: PT012
            began.wait()
            ended.wait()
            raise Silence

    with ThreadPoolExecutor(FAILURES) as threads:
        calls = threads.map(hang, range(FAILURES))
        began.wait()
        clock.ahead += 2
        ended.wait()
        list(calls)
    assert call(breaker) == "refused"
    assert caplog.messages == ["engine_unavailable"]


def test_calls_above_the_limit_wait_while_others_end_and_are_refused_while_all_hang() -> None:
    breaker = CircuitBreaker("engine", lambda error: True, limit=2)
    with ThreadPoolExecutor(8) as threads:

        def work(_: int) -> str:
            with breaker.call():
                time.sleep(0.01)
            return "sent"

        assert list(threads.map(work, range(100))) == ["sent"] * 100
        over, began = Event(), Barrier(3, timeout=5)

        def hang() -> None:
            with breaker.call():
                began.wait()
                over.wait(5)

        hanging = [threads.submit(hang) for _ in range(2)]
        began.wait()
        with time_limit(STALL_SECONDS + 0.3):
            assert list(threads.map(lambda _: call(breaker), range(6))) == ["refused"] * 6
        with time_limit(0.1):
            assert call(breaker) == "refused"
        over.set()
        assert [future.result() for future in hanging] == [None] * 2
        assert call(breaker) == "sent"
