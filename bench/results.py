"""What was measured, and the figures that are made of it: medians over the rounds, and ratios within them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.measure import Sample

MEMORY = "a worker's memory under load, MiB"


@dataclass(frozen=True, slots=True)
class Measured:
    """A scenario's samples by subject, round by round. A field that a subject does not have is NaN."""

    title: str
    labels: Mapping[str, str]
    samples: Mapping[str, list[Sample]]

    def median(self, subject: str, name: str) -> float:
        """Of a sample's field over the rounds."""
        return statistics.median(self._values(subject, name))

    def ratio(self, subject: str, name: str, *, to: str) -> float:
        """The median of the rounds' ratios: the two sides of each were measured within seconds of one another."""
        pairs = zip(self._values(subject, name), self._values(to, name), strict=True)
        return statistics.median(_divided(one, other) for one, other in pairs)

    def tail(self, subject: str) -> float:
        """How many times its p50 the p99 is, in the median."""
        pairs = zip(self._values(subject, "p99_ms"), self._values(subject, "p50_ms"), strict=True)
        return statistics.median(_divided(p99, p50) for p99, p50 in pairs)

    def spread(self, subject: str, name: str) -> float:
        """How far the rounds lie apart, as a part of their median."""
        values = self._values(subject, name)
        return _divided(max(values) - min(values), statistics.median(values))

    def worst(self, name: str) -> float:
        """The greatest value of any round of the API's."""
        return max(max(self._values(subject, name)) for subject in self.own)

    @property
    def own(self) -> list[str]:
        """The subjects that are the API: those whose log tells what a call costs."""
        return [key for key, samples in self.samples.items() if samples[0].dynamodb_requests is not None]

    def _values(self, subject: str, name: str) -> list[float]:
        values: list[Any] = [getattr(sample, name) for sample in self.samples[subject]]
        return [float("nan") if value is None else value for value in values]


@dataclass(slots=True)
class Results:
    """A whole run: scenarios by name, single figures by name, and what to know beside them."""

    notes: list[str]
    scenarios: dict[str, Measured] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def note_memory(self) -> None:
        """Make a single figure of the greatest worker of the API."""
        if self.scenarios:
            self.figures[MEMORY] = max(measured.worst("rss_mib") for measured in self.scenarios.values())


def _divided(one: float, other: float) -> float:
    return one / other if other else float("inf")
