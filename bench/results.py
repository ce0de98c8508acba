"""The results of a run: figures, targets, tables, JSON and a plot."""

from __future__ import annotations

import math
import operator
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import orjson
import pygal

from bench.scenarios import (
    ALONE,
    BESIDE,
    BESIDE_FLOOD,
    BUSY,
    FLOOD,
    HOUR,
    INBOX,
    LARGE,
    LIVE,
    MANY,
    MANY_CLIENTS,
    MESSAGES,
    MIXED,
    NAIVE,
    OTHERS,
    PROCESSES,
    SEND,
    SMALL,
    STARTUP,
)
from tools.cli.console import print_data, print_table

Sample = dict[str, float]
Rounds = list[dict[str, Sample]]
"""A scenario's samples by subject, round by round. A sample has figures: `cpu_us`, `dynamodb_requests` and other costs
of one request, `rss_mib` of the largest worker, and so on."""


def middle(rounds: Rounds, subject: str, figure: str) -> float:
    """A figure's median over the rounds; NaN if the subject does not have it."""
    return median(samples[subject].get(figure, math.nan) for samples in rounds)


def ratio(rounds: Rounds, subject: str, figure: str, to: str = NAIVE, of: str = "") -> float:
    """The median over the rounds of a subject's figure divided by the figure `of` of the subject `to`.

    By default `of` is the same figure.
    """
    pairs = [(samples[subject][figure], samples[to][of or figure]) for samples in rounds]
    return median(value / other if other else math.inf for value, other in pairs)


def worst(rounds: Rounds, figure: str, *subjects: str) -> float:
    """The greatest value of a figure, by default in the scenario many-clients."""
    return max(samples[subject][figure] for samples in rounds for subject in subjects or (MESSAGES, MIXED, BUSY))


def _transactions(rounds: Rounds) -> float:
    """The transactions of a send: its requests without its reads.

    A read costs one unit, because a conversation's state is below 4 KB. So the units are the number of reads.

    A refused transaction counts here. It does not count in the write units: its response does not report them.
    """
    return middle(rounds, SEND, "dynamodb_requests") - middle(rounds, SEND, "dynamodb_read_units")


Target = tuple[str, str, Callable[[Rounds], float], str, float]
"""Scenario, name, the function that computes the value, and the sense and the limit that the value must meet."""

_CPU, _RATE = "CPU, as a fraction of the naive view's", "throughput, as a multiple of the naive view's"
_P50 = "p50 of the largest, as a multiple of the smallest's"
_UNITS = "units of the largest, as a multiple of the smallest's"
_P99 = "p99, as a multiple of p50 at 8 clients"


def _list_targets(scenario: str) -> list[Target]:
    return [
        (scenario, _CPU, lambda rounds: ratio(rounds, SMALL, "cpu_us"), "<=", 0.48),
        (scenario, _RATE, lambda rounds: ratio(rounds, SMALL, "requests_per_second"), ">=", 2),
        (scenario, _P50, lambda rounds: ratio(rounds, LARGE, "p50_ms", SMALL), "<=", 1.15),
        (scenario, _UNITS, lambda rounds: ratio(rounds, LARGE, "dynamodb_read_units", SMALL), "<=", 1.15),
        (scenario, _P99, lambda rounds: ratio(rounds, SMALL, "p99_ms", SMALL, "p50_ms"), "<=", 4),
    ]


TARGETS: list[Target] = [
    *_list_targets(MESSAGES),
    *_list_targets(INBOX),
    (SEND, _CPU, lambda rounds: ratio(rounds, SEND, "cpu_us"), "<=", 0.7),
    (SEND, "round trips", lambda rounds: middle(rounds, SEND, "dynamodb_requests"), "=", 1),
    (SEND, _P99, lambda rounds: ratio(rounds, SEND, "p99_ms", SEND, "p50_ms"), "<=", 4),
    (PROCESSES, _CPU, lambda rounds: ratio(rounds, SEND, "cpu_us"), "<=", 1),
    (PROCESSES, "transactions a message", _transactions, "<=", 1.05),
    (PROCESSES, "read units a message", lambda rounds: middle(rounds, SEND, "dynamodb_read_units"), "<=", 1.05),
    (PROCESSES, "write units a message", lambda rounds: middle(rounds, SEND, "dynamodb_write_units"), "=", 16),
    (MANY_CLIENTS, "slowest request, ms", lambda rounds: worst(rounds, "max_ms"), "<=", 2000),
    (MANY_CLIENTS, "dropped or failed requests", lambda rounds: worst(rounds, "failed"), "=", 0),
    (MANY_CLIENTS, "a worker's memory, MiB", lambda rounds: worst(rounds, "rss_mib"), "<=", 75),
    (LIVE, "p50 from response to arrival, ms", lambda rounds: middle(rounds, MANY, "p50_ms"), "<=", 30),
    (LIVE, "p99 from response to arrival, ms", lambda rounds: middle(rounds, MANY, "p99_ms"), "<=", 200),
    (LIVE, "CPU of other sends, as a multiple", lambda rounds: ratio(rounds, BESIDE, "cpu_us", OTHERS), "<=", 1.1),
    (LIVE, "memory of a stream, KiB", lambda rounds: middle(rounds, MANY, "kib_per_stream"), "<=", 40),
    (LIVE, "growth in the second half of an hour, MiB", lambda rounds: middle(rounds, HOUR, "growth_mib"), "<=", 1),
    (LIVE, "slowest health check, ms", lambda rounds: worst(rounds, "health_ms", HOUR), "<=", 100),
    (
        FLOOD,
        "p99 of others, as a multiple",
        lambda rounds: ratio(rounds, BESIDE_FLOOD, "p99_ms", ALONE),
        "<=",
        1.25,
    ),
    (STARTUP, "import of the app, s", lambda rounds: middle(rounds, "app", "seconds"), "<=", 0.6),
    (STARTUP, "cold import of the stream function, s", lambda rounds: middle(rounds, "function", "seconds"), "<=", 0.4),
    (STARTUP, "second ./bin/dev until ready, s", lambda rounds: middle(rounds, "dev", "seconds"), "<=", 6),
]
_SENSES = {"<=": operator.le, ">=": operator.ge, "=": operator.eq}
_SENSE_NAMES = {"<=": "at most", ">=": "at least", "=": "exactly"}
_LIVE_FIGURES = {
    "cpu_us": "CPU, µs",
    "requests_per_second": "Messages/s",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "max_ms": "Slowest, ms",
    "kib_per_stream": "A stream, KiB",
    "cpu_percent": "Of a core, %",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, and the run's value for it."""

    target: str
    value: float
    sense: str
    limit: float
    met: bool


def judge(results: dict[str, Rounds]) -> list[Verdict]:
    """The targets of the scenarios in the results. Values count with three decimals."""
    verdicts = []
    for scenario, name, figure, sense, limit in TARGETS:
        if scenario in results:
            value = round(figure(results[scenario]), 3)
            verdicts.append(Verdict(f"{scenario}: {name}", value, sense, limit, _SENSES[sense](value, limit)))
    return verdicts


def print_results(results: dict[str, Rounds], verdicts: list[Verdict]) -> None:
    """Print a table of medians for each scenario, and the targets last."""
    for scenario, rounds in results.items():
        subjects = rounds[0]
        figures = dict.fromkeys(figure for sample in subjects.values() for figure in sample)
        rows = [[figure, *(_text(middle(rounds, subject, figure)) for subject in subjects)] for figure in figures]
        if NAIVE in subjects:
            rows.append(["CPU / naive's", *(_text(ratio(rounds, subject, "cpu_us")) for subject in subjects)])
        print_table([scenario, *subjects], rows)
        print_data("")
    rows = [
        [verdict.target, _text(verdict.value), f"{verdict.sense} {verdict.limit:g}", "ok" if verdict.met else "missed"]
        for verdict in verdicts
    ]
    print_table(["targets", "measured", "limit", ""], rows)


def _text(value: float) -> str | None:
    return None if math.isnan(value) else format(value, ".0f" if value >= 1000 else ".4g")


def markdown(results: dict[str, Rounds], verdicts: list[Verdict]) -> str:
    """The targets, and the medians of live updates, as the tables of docs/performance.md."""
    rows: list[list[str]] = [["Target", "Measured", "Limit"], ["---"] * 3]
    for verdict in verdicts:
        rows.append([verdict.target, f"{verdict.value:,g}", f"{_SENSE_NAMES[verdict.sense]} {verdict.limit:,g}"])
    if rounds := results.get(LIVE):
        rows += [[], ["Live updates", *_LIVE_FIGURES.values()], ["---"] * (1 + len(_LIVE_FIGURES))]
        for subject in rounds[0]:
            rows.append([subject, *(_text(middle(rounds, subject, figure)) or "" for figure in _LIVE_FIGURES)])
    return "".join(f"| {' | '.join(row)} |\n" if row else "\n" for row in rows)


def write_results(results: dict[str, Rounds], verdicts: list[Verdict], path: Path) -> None:
    """Write every sample of every round and the verdicts as JSON, and beside it the tables and the medians as SVG."""
    machine = {"python": platform.python_version(), "system": platform.platform()}
    report = {"machine": machine, "scenarios": results, "targets": verdicts}
    path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    path.with_suffix(".md").write_text(markdown(results, verdicts))
    bars = [(scenario, subject) for scenario, rounds in results.items() for subject in rounds[0] if NAIVE in rounds[0]]
    bars.reverse()  # pygal begins at the bottom
    # The bars start at zero, because their lengths are compared. The file loads no script.
    chart = pygal.HorizontalBar(include_x_axis=True, print_values=True, js=[], height=220 + 36 * len(bars))
    chart.title = "Cost relative to the naive view (1) in the same rounds: less is better"
    chart.x_labels = [f"{scenario}: {subject}" for scenario, subject in bars]
    for title, figure in (("CPU per request", "cpu_us"), ("response time (p50)", "p50_ms")):
        chart.add(title, [round(ratio(results[scenario], subject, figure), 2) for scenario, subject in bars])
    chart.render_to_file(str(path.with_suffix(".svg")))
