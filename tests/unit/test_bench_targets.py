"""The benchmark's verdicts: every target is judged, a missed one is seen in tables, JSON, plot and exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import cold, report
from bench.dataset import ROLES
from bench.measure import Sample
from bench.plot import write_plot
from bench.results import MEMORY, Measured, Results
from bench.scenarios import FAR, FLOOR, HOT, INBOX, LOOP, MANY_CLIENTS, MESSAGES, MIXED, NAIVE, ONE_CLIENT, SEND
from bench.targets import TARGETS, judge
from tests import scripts

NAIVE_SAMPLE = Sample(requests_per_second=100, cpu_us=1000, busy=1, p50_ms=10, p95_ms=15, p99_ms=30, max_ms=40)
SUBJECTS = {
    MESSAGES: (*ROLES, FAR),
    INBOX: (*ROLES, FAR),
    SEND: (SEND,),
    HOT: ("hot", "cool"),
    ONE_CLIENT: (MESSAGES, INBOX, SEND),
    MANY_CLIENTS: (MESSAGES, MIXED, HOT),
}


def our_sample(**changes: Any) -> Sample:
    """A round that meets every target."""
    figures = {"requests_per_second": 200, "cpu_us": 450, "busy": 1, "p50_ms": 5, "p95_ms": 8, "p99_ms": 15}
    costs = {"dynamodb_requests": 1.0, "capacity_units": 2.0, "postgres_requests": 0.0, "rss_mib": 70.0}
    return Sample(**{**figures, **costs, "max_ms": 20, **changes})


def results(
    scenario: str | None = None, subject: str | None = None, figures: dict[str, float] | None = None, **changes: Any
) -> Results:
    """A whole run of two rounds that meets every target, but for what `changes` say of one subject."""
    scenarios = {}
    for name, subjects in SUBJECTS.items():
        samples = {NAIVE: [NAIVE_SAMPLE] * 2, FLOOR: [NAIVE_SAMPLE] * 2, LOOP: [NAIVE_SAMPLE] * 2}
        for key in subjects:
            samples[key] = [our_sample(**(changes if (name, key) == (scenario, subject) else {}))] * 2
        scenarios[name] = Measured(f"title of {name}", {key: f"label of {key}" for key in samples}, samples)
    made = Results(["a note"], scenarios)
    made.note_memory()
    made.figures |= {cold.APP_IMPORT: 0.2, cold.FUNCTION_IMPORT: 0.1, cold.DEV_SECOND: 2.0} | (figures or {})
    return made


def missed(run: Results) -> list[str]:
    return [verdict.target.name for verdict in judge(run) if not verdict.is_met]


def test_a_run_that_reaches_everything_is_judged_by_every_target() -> None:
    assert [verdict.target for verdict in judge(results())] == TARGETS
    assert missed(results()) == []


@pytest.mark.parametrize(
    ("scenario", "subject", "changes", "expected"),
    [
        (MESSAGES, "small", {"cpu_us": 501}, "messages: CPU, parts of the naive view's"),
        (MESSAGES, "small", {"requests_per_second": 169}, "messages: throughput, times the naive view's"),
        (INBOX, "small", {"cpu_us": 501}, "inbox: CPU, parts of the naive view's"),
        (INBOX, "small", {"requests_per_second": 169}, "inbox: throughput, times the naive view's"),
        (SEND, SEND, {"cpu_us": 1301}, "send: CPU, parts of the naive view's"),
        (SEND, SEND, {"dynamodb_requests": 1.01}, "send: round trips"),
        (MESSAGES, "large", {"p50_ms": 5.8}, "messages: p50 of the largest, times the smallest's"),
        (MESSAGES, "large", {"capacity_units": 2.5}, "messages: units of the largest, times the smallest's"),
        (INBOX, "large", {"p50_ms": 5.8}, "inbox: p50 of the largest, times the smallest's"),
        (INBOX, "large", {"capacity_units": 2.5}, "inbox: units of the largest, times the smallest's"),
        (MESSAGES, "small", {"p99_ms": 20.1}, "messages: p99, times p50 at 8 clients"),
        (INBOX, "small", {"p99_ms": 20.1}, "inbox: p99, times p50 at 8 clients"),
        (SEND, SEND, {"p99_ms": 20.1}, "send: p99, times p50 at 8 clients"),
        (MANY_CLIENTS, MIXED, {"max_ms": 2001}, "64 clients: slowest request, ms"),
        (MANY_CLIENTS, HOT, {"max_ms": 2001}, "64 clients: slowest request, ms"),
        (MANY_CLIENTS, MESSAGES, {"failed": 1}, "64 clients: dropped or failed requests"),
        (HOT, "hot", {"rss_mib": 75.1}, MEMORY),
    ],
)
def test_a_missed_target_is_seen(scenario: str, subject: str, changes: dict[str, Any], expected: str) -> None:
    assert missed(results(scenario, subject, **changes)) == [expected]


@pytest.mark.parametrize(
    ("figure", "value"), [(cold.APP_IMPORT, 0.61), (cold.FUNCTION_IMPORT, 0.41), (cold.DEV_SECOND, 6.1)]
)
def test_a_missed_cold_start_is_seen(figure: str, value: float) -> None:
    assert missed(results(figures={figure: value})) == [figure]


def test_what_was_not_measured_is_not_judged() -> None:
    part = results()
    only = Results([], {SEND: part.scenarios[SEND]})
    assert {verdict.target.source for verdict in judge(only)} == {SEND}


def test_the_tables_show_ratios_and_what_is_missed(capfd: pytest.CaptureFixture[str]) -> None:
    run = results(SEND, SEND, cpu_us=1301)
    report.print_results(run, list(judge(run)))
    lines = capfd.readouterr().out.splitlines()
    assert "a note" in lines
    line = next(line for line in lines[lines.index("title of send") :] if line.startswith("label of send"))
    assert line.split()[3:7] == ["1.30", "2.00", "1301", "0%"]
    assert [line.split("  ")[0] for line in lines if line.endswith("missed")] == [
        "send: CPU, parts of the naive view's"
    ]


def test_the_json_holds_every_round_and_no_nan(tmp_path: Path) -> None:
    run = results()
    report.write_json(run, list(judge(run)), tmp_path / "run.json")
    read = json.loads((tmp_path / "run.json").read_text(), parse_constant=pytest.fail)
    subject = read["scenarios"][MESSAGES]["subjects"]["small"]
    assert (subject["cpu_to_naive"], subject["requests_per_second_to_naive"]) == (0.45, 2)
    assert subject["medians"]["capacity_units"] == 2
    assert read["scenarios"][MESSAGES]["subjects"][NAIVE]["medians"]["capacity_units"] is None
    assert len(subject["rounds"]) == 2
    assert len(read["targets"]) == len(TARGETS)
    assert all(target["met"] for target in read["targets"])


def test_the_plot_shows_every_subject_and_fetches_nothing(tmp_path: Path) -> None:
    write_plot(results(), tmp_path / "run.svg")
    svg = (tmp_path / "run.svg").read_text()
    assert svg.count("send: label of send") >= 1
    assert " src=" not in svg
    assert 'href="' not in svg


@pytest.mark.parametrize(("cpu", "status"), [(450, 0), (1301, 1)])
def test_the_exit_status_says_whether_a_target_is_missed(
    cpu: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    main: Any = scripts.load("bench")
    wiring = main.__wrapped__.__globals__
    monkeypatch.setitem(wiring, "find_wrk", lambda: "wrk")
    monkeypatch.setitem(wiring, "measured", lambda plan, engine: results(SEND, SEND, cpu_us=cpu))
    assert main(["--output", str(tmp_path)]) == status
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".svg"]
    assert ("missed" in capfd.readouterr().out) == bool(status)
