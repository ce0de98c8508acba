"""What a run says: tables for people, JSON for programs, and a plot. Ratios come first, because times drift."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pygal
from pygal.style import CleanStyle

from bench.results import Measured, Results
from bench.scenarios import NAIVE
from bench.targets import Verdict
from tools.cli.console import print_data, print_table

_RATIOS = {"CPU/naive": "cpu_us", "rate/naive": "requests_per_second"}
_MEDIANS = {
    "CPU µs": ("cpu_us", ".0f"),
    "req/s": ("requests_per_second", ".0f"),
    "busy": ("busy", ".0%"),
    **{name: (f"{name}_ms", ".2f") for name in ("p50", "p95", "p99", "max")},
    "MiB": ("rss_mib", ".1f"),
    "DynamoDB": ("dynamodb_requests", ".4g"),
    "read": ("dynamodb_read_units", ".4g"),
    "write": ("dynamodb_write_units", ".4g"),
    "Postgres": ("postgres_requests", ".3g"),
    "failed": ("failed", ".0f"),
}
_LEGEND = """
CPU/naive, rate/naive: CPU time a request and requests a second, as parts of the naive view's in the same round.
busy: of one core. p50 to max: milliseconds. MiB: resident memory of a worker. DynamoDB, Postgres: round trips a
call; read, write: DynamoDB's units. failed: dropped, timed out or refused. All are medians of the rounds."""


def print_results(results: Results, verdicts: Sequence[Verdict]) -> None:
    """Everything, the targets last."""
    for line in (*results.notes, _LEGEND):
        print_data(line)
    for measured in results.scenarios.values():
        print_data(f"\n{measured.title}")
        print_table(["", *_RATIOS, *_MEDIANS], [_row(measured, subject) for subject in measured.samples])
    print_data("")
    print_table(["Single figures", "measured"], [[name, f"{value:.3g}"] for name, value in results.figures.items()])
    print_data("")
    print_table(
        ["Targets", "measured", "limit", ""],
        [
            (each.target, f"{each.value:.3g}", f"{each.sense} {each.limit:g}", "ok" if each.is_met else "missed")
            for each in verdicts
        ],
    )


def write_json(results: Results, verdicts: Sequence[Verdict], path: Path) -> None:
    """Every sample of every round, and the verdicts."""
    machine = {"python": platform.python_version(), "system": platform.platform()}
    targets = [asdict(verdict) | {"met": verdict.is_met} for verdict in verdicts]
    described = {"machine": machine, **asdict(results), "targets": targets}
    path.write_bytes(orjson.dumps(described, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def write_plot(results: Results, path: Path) -> None:
    """One SVG: the CPU and the time of each subject, as parts of the naive view's."""
    bars = [
        (name, measured, subject)
        for name, measured in results.scenarios.items()
        for subject in measured.samples
        if subject != NAIVE
    ][::-1]  # pygal begins at the bottom
    chart = pygal.HorizontalBar(
        title="Parts of what the naive view takes (1) in the same rounds: less is better",
        x_labels=[f"{name}: {measured.labels[subject]}" for name, measured, subject in bars],
        height=220 + 36 * len(bars),
        width=1200,
        include_x_axis=True,  # bars from zero: their lengths are what is compared
        value_formatter=lambda value: f"{value:.2f}",
        print_values=True,
        legend_at_bottom=True,
        style=CleanStyle(label_font_size=11, value_font_size=9),
        js=[],  # nothing is fetched from elsewhere when it is looked at
    )
    for series, field in {"CPU per request": "cpu_us", "time until its answer (p50)": "p50_ms"}.items():
        chart.add(series, [measured.ratio(subject, field, to=NAIVE) for _, measured, subject in bars])
    chart.render_to_file(str(path))


def _row(measured: Measured, subject: str) -> list[Any]:
    medians = ((measured.median(subject, field), form) for field, form in _MEDIANS.values())
    return [
        measured.labels[subject],
        *(
            None if subject == NAIVE else f"{measured.ratio(subject, field, to=NAIVE):.2f}"
            for field in _RATIOS.values()
        ),
        *(None if math.isnan(value) else format(value, form) for value, form in medians),
    ]
