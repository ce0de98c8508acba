"""A run's results: tables for people, JSON for programs, and a plot."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import orjson
import pygal
from pygal.style import CleanStyle

from bench.results import Measured, Results, Verdict
from bench.scenarios import NAIVE, SCENARIOS
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
_LEGEND = """naive: the naive view. floor: the server alone. small, medium, large: first pages of lists of these sizes.
far: a far page of the largest. loop: a bare boto3 loop. mixed: sends and reads. busy: sends into one conversation.
CPU/naive, rate/naive: CPU time a request and requests a second, as parts of the naive view's in the same round.
busy: of one core. p50 to max: milliseconds. MiB: resident memory of a worker. DynamoDB, Postgres: round trips a
request. read, write: DynamoDB's units a request. failed: dropped, timed out or refused. All are medians of rounds."""


def print_results(results: Results, verdicts: Sequence[Verdict]) -> None:
    """Print everything, the targets last."""
    print_data(_LEGEND)
    for name, measured in results.scenarios.items():
        print_data(f"\n{name}: {SCENARIOS[name].title}")
        print_table(["", *_RATIOS, *_MEDIANS], [_row(measured, subject) for subject in measured.samples])
    print_data("")
    print_table(["Single figures", "measured"], [[name, f"{value:.3g}"] for name, value in results.figures.items()])
    print_data("")
    rows = [
        (one.target, f"{one.value:.3g}", f"{one.sense} {one.limit:g}", "ok" if one.is_met else "missed")
        for one in verdicts
    ]
    print_table(["Targets", "measured", "limit", ""], rows)


def write_json(results: Results, verdicts: Sequence[Verdict], path: Path) -> None:
    """Write every sample of every round, and the verdicts."""
    machine = {"python": platform.python_version(), "system": platform.platform()}
    targets = [asdict(verdict) | {"met": verdict.is_met} for verdict in verdicts]
    report = {"machine": machine, **asdict(results), "targets": targets}
    path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def write_plot(results: Results, path: Path) -> None:
    """Draw the CPU and the response time of each subject, as parts of the naive view's, in one SVG."""
    bars = [
        (f"{name}: {subject}", partial(measured.ratio, subject))
        for name, measured in results.scenarios.items()
        for subject in measured.samples
        if subject != NAIVE
    ][::-1]  # pygal begins at the bottom
    chart = pygal.HorizontalBar(
        title="Parts of what the naive view takes (1) in the same rounds: less is better",
        x_labels=[label for label, _ in bars],
        height=220 + 36 * len(bars),
        width=1200,
        include_x_axis=True,  # the lengths of the bars are compared, so they start at zero
        value_formatter=lambda value: f"{value:.2f}",
        print_values=True,
        legend_at_bottom=True,
        style=CleanStyle(label_font_size=11, value_font_size=9),
        js=[],  # the file loads no script
    )
    chart.add("CPU per request", [ratio("cpu_us") for _, ratio in bars])
    chart.add("response time (p50)", [ratio("p50_ms") for _, ratio in bars])
    chart.render_to_file(str(path))


def _row(measured: Measured, subject: str) -> list[str | None]:
    ratios = [f"{measured.ratio(subject, name):.2f}" for name in _RATIOS.values()]
    medians = [(measured.median(subject, name), form) for name, form in _MEDIANS.values()]
    return [subject, *ratios, *(None if math.isnan(value) else format(value, form) for value, form in medians)]
