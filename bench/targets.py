"""What the API has to reach, and whether a run shows that it does."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import cold
from bench.results import MEMORY, Measured, Results
from bench.scenarios import INBOX, MANY_CLIENTS, MESSAGES, NAIVE, SEND

_SENSES = {"<=": operator.le, ">=": operator.ge, "=": operator.eq}
_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its limit; `source` is the scenario or the single figure that `value` takes it from."""

    name: str
    value: Callable[[Results], float]
    sense: str
    limit: float
    source: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run shows of a target."""

    target: Target
    value: float

    @property
    def is_met(self) -> bool:
        return bool(_SENSES[self.target.sense](round(self.value, _DECIMALS), self.target.limit))


def judge(results: Results) -> Iterator[Verdict]:
    """Each target of which the run has the figure."""
    for target in TARGETS:
        if target.source in results.scenarios or target.source in results.figures:
            yield Verdict(target, target.value(results))


def _in(scenario: str, figure: Callable[[Measured], float], name: str, sense: str, limit: float) -> Target:
    return Target(name, lambda results: figure(results.scenarios[scenario]), sense, limit, scenario)


def _single(figure: str, sense: str, limit: float) -> Target:
    return Target(figure, lambda results: results.figures[figure], sense, limit, figure)


def _to_naive(subject: str, field: str) -> Callable[[Measured], float]:
    return lambda measured: measured.ratio(subject, field, to=NAIVE)


def _growth(field: str) -> Callable[[Measured], float]:
    return lambda measured: measured.ratio("large", field, to="small")


def _tail(subject: str) -> Callable[[Measured], float]:
    return lambda measured: measured.tail(subject)


_CPU, _RATE = "cpu_us", "requests_per_second"

TARGETS = [
    _in(MESSAGES, _to_naive("small", _CPU), "messages: CPU, parts of the naive view's", "<=", 0.5),
    _in(MESSAGES, _to_naive("small", _RATE), "messages: throughput, times the naive view's", ">=", 1.7),
    _in(INBOX, _to_naive("small", _CPU), "inbox: CPU, parts of the naive view's", "<=", 0.5),
    _in(INBOX, _to_naive("small", _RATE), "inbox: throughput, times the naive view's", ">=", 1.7),
    _in(SEND, _to_naive(SEND, _CPU), "send: CPU, parts of the naive view's", "<=", 1.3),
    _in(SEND, lambda measured: measured.median(SEND, "dynamodb_requests"), "send: round trips", "=", 1),
    _in(MESSAGES, _growth("p50_ms"), "messages: p50 of the largest, times the smallest's", "<=", 1.15),
    _in(MESSAGES, _growth("capacity_units"), "messages: units of the largest, times the smallest's", "<=", 1.15),
    _in(INBOX, _growth("p50_ms"), "inbox: p50 of the largest, times the smallest's", "<=", 1.15),
    _in(INBOX, _growth("capacity_units"), "inbox: units of the largest, times the smallest's", "<=", 1.15),
    _in(MESSAGES, _tail("small"), "messages: p99, times p50 at 8 clients", "<=", 4),
    _in(INBOX, _tail("small"), "inbox: p99, times p50 at 8 clients", "<=", 4),
    _in(SEND, _tail(SEND), "send: p99, times p50 at 8 clients", "<=", 4),
    _in(MANY_CLIENTS, lambda measured: measured.worst("max_ms"), "64 clients: slowest request, ms", "<=", 2000),
    _in(MANY_CLIENTS, lambda measured: measured.worst("failed"), "64 clients: dropped or failed requests", "=", 0),
    _single(MEMORY, "<=", 75),
    _single(cold.APP_IMPORT, "<=", 0.6),
    _single(cold.FUNCTION_IMPORT, "<=", 0.4),
    _single(cold.DEV_SECOND, "<=", 6),
]
