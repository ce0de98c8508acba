"""What the API has to reach, and whether a run shows that it does."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import startup
from bench.results import MEMORY, Measured, Results
from bench.scenarios import INBOX, MANY_CLIENTS, MESSAGES, NAIVE, PROCESSES, SEND

_SENSES = {"<=": operator.le, ">=": operator.ge, "=": operator.eq}
_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run shows of a target."""

    target: str
    value: float
    sense: str
    limit: float

    @property
    def is_met(self) -> bool:
        return bool(_SENSES[self.sense](round(self.value, _DECIMALS), self.limit))


def judge(results: Results) -> Iterator[Verdict]:
    """Each target of which the run has the figure."""
    for scenario, name, figure, sense, limit in TARGETS:
        if measured := results.scenarios.get(scenario):
            yield Verdict(f"{scenario}: {name}", figure(measured), sense, limit)
    for name, limit in SINGLE_TARGETS.items():
        if name in results.figures:
            yield Verdict(name, results.figures[name], "<=", limit)


def _to_naive(subject: str, field: str) -> Callable[[Measured], float]:
    return lambda measured: measured.ratio(subject, field, to=NAIVE)


def _growth(field: str) -> Callable[[Measured], float]:
    return lambda measured: measured.ratio("large", field, to="small")


def _tail(subject: str) -> Callable[[Measured], float]:
    return lambda measured: measured.ratio(subject, "p99_ms", to=subject, of="p50_ms")


def _mean(field: str) -> Callable[[Measured], float]:
    return lambda measured: measured.median(SEND, field)


def _transactions(measured: Measured) -> float:
    """A send's requests but its reads, each of which costs one unit: the state of a conversation is below 4 KB.

    A refused transaction counts. In the write units it does not, because its answer does not say what it cost.
    """
    return measured.median(SEND, "dynamodb_requests") - measured.median(SEND, "dynamodb_read_units")


_CPU, _RATE = "CPU, parts of the naive view's", "throughput, times the naive view's"
_P50, _UNITS = "p50 of the largest, times the smallest's", "units of the largest, times the smallest's"
_P99 = "p99, times p50 at 8 clients"

TARGETS: list[tuple[str, str, Callable[[Measured], float], str, float]] = [
    (MESSAGES, _CPU, _to_naive("small", "cpu_us"), "<=", 0.48),
    (MESSAGES, _RATE, _to_naive("small", "requests_per_second"), ">=", 2),
    (INBOX, _CPU, _to_naive("small", "cpu_us"), "<=", 0.48),
    (INBOX, _RATE, _to_naive("small", "requests_per_second"), ">=", 2),
    (SEND, _CPU, _to_naive(SEND, "cpu_us"), "<=", 0.7),
    (SEND, "round trips", _mean("dynamodb_requests"), "=", 1),
    (PROCESSES, _CPU, _to_naive(SEND, "cpu_us"), "<=", 1),
    (PROCESSES, "transactions a message", _transactions, "<=", 1.05),
    (PROCESSES, "read units a message", _mean("dynamodb_read_units"), "<=", 1.05),
    (PROCESSES, "write units a message", _mean("dynamodb_write_units"), "=", 16),
    (MESSAGES, _P50, _growth("p50_ms"), "<=", 1.15),
    (MESSAGES, _UNITS, _growth("dynamodb_read_units"), "<=", 1.15),
    (INBOX, _P50, _growth("p50_ms"), "<=", 1.15),
    (INBOX, _UNITS, _growth("dynamodb_read_units"), "<=", 1.15),
    (MESSAGES, _P99, _tail("small"), "<=", 4),
    (INBOX, _P99, _tail("small"), "<=", 4),
    (SEND, _P99, _tail(SEND), "<=", 4),
    (MANY_CLIENTS, "slowest request, ms", lambda measured: measured.worst("max_ms"), "<=", 2000),
    (MANY_CLIENTS, "dropped or failed requests", lambda measured: measured.worst("failed"), "=", 0),
]
SINGLE_TARGETS = {MEMORY: 75, startup.APP_IMPORT: 0.6, startup.FUNCTION_IMPORT: 0.4, startup.DEV_SECOND: 6}
