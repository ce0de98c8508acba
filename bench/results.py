"""What was measured, and the figures that are made of it: medians over the rounds, and ratios within them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field

MEMORY = "a worker's memory under load, MiB"


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one subject; what it does not tell is None. `busy` is the part of one core that its workers used."""

    requests_per_second: float
    cpu_us: float
    busy: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    failed: int = 0
    rss_mib: float | None = None
    dynamodb_requests: float | None = None
    dynamodb_read_units: float | None = None
    dynamodb_write_units: float | None = None
    postgres_requests: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A scenario's samples by subject, round by round."""

    title: str
    labels: dict[str, str]
    samples: dict[str, list[Sample]]

    def values(self, subject: str, name: str) -> list[float]:
        """A field of a subject, round by round; NaN for what it does not tell."""
        values = [getattr(sample, name) for sample in self.samples[subject]]
        return [math.nan if value is None else value for value in values]

    def median(self, subject: str, name: str) -> float:
        """Of a field over the rounds."""
        return statistics.median(self.values(subject, name))

    def ratio(self, subject: str, name: str, to: str, of: str | None = None) -> float:
        """The median of the rounds' ratios, to another subject's same field or to `of`: each was measured at once."""
        pairs = zip(self.values(subject, name), self.values(to, of or name), strict=True)
        return statistics.median(one / other if other else math.inf for one, other in pairs)

    def worst(self, name: str) -> float:
        """The greatest value of any round of the API: of the subjects whose log tells what a call costs."""
        own = [key for key, samples in self.samples.items() if samples[0].dynamodb_requests is not None]
        return max(max(self.values(subject, name)) for subject in own)


@dataclass(slots=True)
class Results:
    """A whole run: scenarios by name, single figures by name, and what to know beside them."""

    notes: list[str]
    scenarios: dict[str, Measured] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
