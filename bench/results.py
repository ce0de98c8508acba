"""What a run measured, and the targets that it is held to."""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from bench.scenarios import INBOX, LARGE, MANY_CLIENTS, MESSAGES, NAIVE, PROCESSES, SEND, SMALL

MEMORY = "a worker's memory under load, MiB"
APP_IMPORT, FUNCTION_IMPORT = "import of the app, s", "cold import of the stream function, s"
DEV_SECOND = "second ./bin/dev until ready, s"

_SENSES = {"<=": operator.le, ">=": operator.ge, "=": operator.eq}
_DECIMALS = 3

Sample = dict[str, float]
"""One round of one subject by figure: `requests_per_second`, `cpu_us` a request, `busy` parts of one core, `p50_ms` to
`max_ms`, `failed`; of servers `rss_mib`; of the API its costs a request, `dynamodb_requests` to `postgres_requests`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A scenario's samples by subject, round by round."""

    samples: dict[str, list[Sample]]

    def values(self, subject: str, name: str) -> list[float]:
        """A figure of a subject, round by round; NaN where it has none."""
        return [sample.get(name, math.nan) for sample in self.samples[subject]]

    def median(self, subject: str, name: str) -> float:
        """A figure's median over the rounds."""
        return statistics.median(self.values(subject, name))

    def ratio(self, subject: str, name: str, to: str = NAIVE, of: str | None = None) -> float:
        """The median of the rounds' ratios of a figure to the figure `of` of `to`, by default the same figure."""
        pairs = zip(self.values(subject, name), self.values(to, of or name), strict=True)
        return statistics.median(one / other if other else math.inf for one, other in pairs)

    def worst(self, name: str) -> float:
        """The greatest value of any round of the API: of the subjects that have its costs."""
        api = [subject for subject, samples in self.samples.items() if "dynamodb_requests" in samples[0]]
        return max(max(self.values(subject, name)) for subject in api)


@dataclass(slots=True)
class Results:
    """A whole run: scenarios by name, and single figures by name."""

    scenarios: dict[str, Measured] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, and the run's value for it."""

    target: str
    value: float
    sense: str
    limit: float

    @property
    def is_met(self) -> bool:
        return bool(_SENSES[self.sense](round(self.value, _DECIMALS), self.limit))


def judge(results: Results) -> Iterator[Verdict]:
    """The targets that the run measured."""
    for scenario, name, figure, sense, limit in TARGETS:
        if measured := results.scenarios.get(scenario):
            yield Verdict(f"{scenario}: {name}", figure(measured), sense, limit)
    for name, limit in SINGLE_TARGETS.items():
        if name in results.figures:
            yield Verdict(name, results.figures[name], "<=", limit)


def _ratio(subject: str, name: str, to: str = NAIVE, of: str | None = None) -> Callable[[Measured], float]:
    return partial(Measured.ratio, subject=subject, name=name, to=to, of=of)


def _sends(name: str) -> Callable[[Measured], float]:
    return partial(Measured.median, subject=SEND, name=name)


def _transactions(measured: Measured) -> float:
    """A send's requests without its reads, each of which costs one unit: a conversation's state is below 4 KB.

    A refused transaction counts here. It does not count in the write units, because its response does not report them.
    """
    return measured.median(SEND, "dynamodb_requests") - measured.median(SEND, "dynamodb_read_units")


_CPU, _RATE = "CPU, parts of the naive view's", "throughput, times the naive view's"
_P50, _UNITS = "p50 of the largest, times the smallest's", "units of the largest, times the smallest's"
_P99 = "p99, times p50 at 8 clients"

TARGETS: list[tuple[str, str, Callable[[Measured], float], str, float]] = [
    (MESSAGES, _CPU, _ratio(SMALL, "cpu_us"), "<=", 0.48),
    (MESSAGES, _RATE, _ratio(SMALL, "requests_per_second"), ">=", 2),
    (INBOX, _CPU, _ratio(SMALL, "cpu_us"), "<=", 0.48),
    (INBOX, _RATE, _ratio(SMALL, "requests_per_second"), ">=", 2),
    (SEND, _CPU, _ratio(SEND, "cpu_us"), "<=", 0.7),
    (SEND, "round trips", _sends("dynamodb_requests"), "=", 1),
    (PROCESSES, _CPU, _ratio(SEND, "cpu_us"), "<=", 1),
    (PROCESSES, "transactions a message", _transactions, "<=", 1.05),
    (PROCESSES, "read units a message", _sends("dynamodb_read_units"), "<=", 1.05),
    (PROCESSES, "write units a message", _sends("dynamodb_write_units"), "=", 16),
    (MESSAGES, _P50, _ratio(LARGE, "p50_ms", to=SMALL), "<=", 1.15),
    (MESSAGES, _UNITS, _ratio(LARGE, "dynamodb_read_units", to=SMALL), "<=", 1.15),
    (INBOX, _P50, _ratio(LARGE, "p50_ms", to=SMALL), "<=", 1.15),
    (INBOX, _UNITS, _ratio(LARGE, "dynamodb_read_units", to=SMALL), "<=", 1.15),
    (MESSAGES, _P99, _ratio(SMALL, "p99_ms", to=SMALL, of="p50_ms"), "<=", 4),
    (INBOX, _P99, _ratio(SMALL, "p99_ms", to=SMALL, of="p50_ms"), "<=", 4),
    (SEND, _P99, _ratio(SEND, "p99_ms", to=SEND, of="p50_ms"), "<=", 4),
    (MANY_CLIENTS, "slowest request, ms", partial(Measured.worst, name="max_ms"), "<=", 2000),
    (MANY_CLIENTS, "dropped or failed requests", partial(Measured.worst, name="failed"), "=", 0),
]
SINGLE_TARGETS = {MEMORY: 75, APP_IMPORT: 0.6, FUNCTION_IMPORT: 0.4, DEV_SECOND: 6}
