"""What a run says: tables for people, JSON for programs. Ratios come first, because absolute times drift."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.results import Measured, Results
from bench.scenarios import NAIVE
from bench.targets import Verdict
from lib.console import write, write_table

_COLUMNS = [
    *("", "CPU/naive", "rate/naive", "CPU µs", "±", "req/s", "±", "busy"),
    *("p50", "p95", "p99", "max", "MiB", "DynamoDB", "Postgres", "units", "failed"),
]
_LEGEND = """
CPU/naive, rate/naive: CPU time a request, and requests a second, as parts of the naive view's in the same round.
±: how far the rounds lie apart. busy: of one core. p50 to max: milliseconds. MiB: resident memory of a worker.
DynamoDB, Postgres: round trips a call; units: DynamoDB's capacity. failed: dropped, timed out or refused."""


def print_results(results: Results, verdicts: Sequence[Verdict]) -> None:
    """Everything, the targets last."""
    for note in results.notes:
        write(note)
    write(_LEGEND.removeprefix("\n"))
    for measured in results.scenarios.values():
        write(f"\n{measured.title}")
        write_table(_COLUMNS, [_row(measured, subject) for subject in measured.samples])
    if results.figures:
        write("\nSingle figures")
        write_table(["", "measured"], [[name, f"{value:.3g}"] for name, value in results.figures.items()])
    write("\nTargets")
    write_table(
        ["", "measured", "limit", ""],
        [
            [
                verdict.target.name,
                f"{verdict.value:.3g}",
                f"{verdict.target.sense} {verdict.target.limit:g}",
                "ok" if verdict.is_met else "missed",
            ]
            for verdict in verdicts
        ],
    )


def write_json(results: Results, verdicts: Sequence[Verdict], path: Path) -> None:
    """Every sample of every round, and what was made of them."""
    scenarios = {
        name: {
            "title": measured.title,
            "subjects": {
                subject: {
                    "label": measured.labels[subject],
                    "cpu_to_naive": measured.ratio(subject, "cpu_us", to=NAIVE),
                    "requests_per_second_to_naive": measured.ratio(subject, "requests_per_second", to=NAIVE),
                    "medians": _medians(measured, subject),
                    "rounds": [asdict(sample) for sample in samples],
                }
                for subject, samples in measured.samples.items()
            },
        }
        for name, measured in results.scenarios.items()
    }
    targets = [
        {
            "name": verdict.target.name,
            "value": verdict.value,
            "sense": verdict.target.sense,
            "limit": verdict.target.limit,
            "met": verdict.is_met,
        }
        for verdict in verdicts
    ]
    machine = {"python": platform.python_version(), "system": platform.platform()}
    described = {"notes": results.notes, "machine": machine, "scenarios": scenarios, "figures": results.figures}
    path.write_text(json.dumps(described | {"targets": targets}, indent=2, ensure_ascii=False) + "\n")


def _row(measured: Measured, subject: str) -> list[Any]:
    def median(name: str, form: str) -> str | None:
        value = measured.median(subject, name)
        return None if math.isnan(value) else format(value, form)

    def share(name: str) -> str | None:
        return None if subject == NAIVE else f"{measured.ratio(subject, name, to=NAIVE):.2f}"

    return [
        measured.labels[subject],
        *(share("cpu_us"), share("requests_per_second")),
        *(median("cpu_us", ".0f"), f"{measured.spread(subject, 'cpu_us'):.0%}"),
        *(median("requests_per_second", ".0f"), f"{measured.spread(subject, 'requests_per_second'):.0%}"),
        median("busy", ".0%"),
        *(median(name, ".2f") for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms")),
        *(median(name, ".0f") for name in ("rss_mib",)),
        *(median(name, ".3g") for name in ("dynamodb_requests", "postgres_requests", "capacity_units")),
        sum(sample.failed for sample in measured.samples[subject]),
    ]


def _medians(measured: Measured, subject: str) -> dict[str, float | None]:
    medians = {name: measured.median(subject, name) for name in asdict(measured.samples[subject][0])}
    return {name: None if math.isnan(value) else value for name, value in medians.items()}
