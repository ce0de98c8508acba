"""The benchmark: the output of wrk and the log, the conversations in the table, every target, and the report."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from bench.results import TARGETS, Rounds, judge, markdown, middle, ratio
from bench.run import halve
from bench.scenarios import (
    ALONE,
    BESIDE,
    BESIDE_FLOOD,
    HOUR,
    MANY,
    OTHERS,
    SIZES,
    STREAMS,
    Scale,
    conversations,
    live_sends,
)
from bench.server import parse_log, parse_output
from tests.support import scripts

NAIVE = {"requests_per_second": 100.0, "cpu_us": 1000.0, "p50_ms": 10.0, "max_ms": 9000.0, "rss_mib": 90.0}
LOAD = {"requests_per_second": 200.0, "cpu_us": 450.0, "p50_ms": 5.0, "p99_ms": 20.0, "max_ms": 2000.0}
SEND = LOAD | {"failed": 0.0, "rss_mib": 75.0, "dynamodb_requests": 1.0, "dynamodb_write_units": 16.0}
SENDS = SEND | {"dynamodb_requests": 2.05, "dynamodb_read_units": 1.0}
LIVE = {
    MANY: {"p50_ms": 30.0, "p99_ms": 200.0, "kib_per_stream": 40.0},
    HOUR: {"growth_mib": 1.0, "health_ms": 100.0},
    OTHERS: {"cpu_us": 1000.0},
    BESIDE: {"cpu_us": 1100.0},
}


def results(scenario: str = "", subject: str = "", **changes: float) -> dict[str, Rounds]:
    """A run of two rounds that meets every target, most of them just so, but for the changes to a subject."""
    rounds = {
        "messages": {"naive": NAIVE, **dict.fromkeys(SIZES, SENDS)},
        "inbox": {"naive": NAIVE, **dict.fromkeys(SIZES, SENDS)},
        "send": {"naive": NAIVE, "send": SEND},
        "processes": {"naive": NAIVE, "send": SENDS},
        "many-clients": {"naive": NAIVE, "messages": SEND, "mixed": SEND, "busy": SEND},
        "live": dict(LIVE),
        "flood": {ALONE: {"p99_ms": 8.0}, BESIDE_FLOOD: {"p99_ms": 10.0}},
        "startup": {"app": {"seconds": 0.6}, "function": {"seconds": 0.4}, "dev": {"seconds": 6.0}},
    }
    if scenario:
        rounds[scenario][subject] = rounds[scenario][subject] | changes
    return {name: [samples] * 2 for name, samples in rounds.items()}


def missed(run: dict[str, Rounds]) -> list[str]:
    return [verdict.target for verdict in judge(run) if not verdict.met]


def output(**changes: object) -> str:
    """The output of wrk."""
    counts = {"sent": 1009, "completed": 1000, "seconds": 4.5, "p50_us": 1500, "p99_us": 3000, "max_us": 4000}
    return "Running 1s test\n" + json.dumps({**counts, "errors": [0] * 5, **changes}) + "\n"


def test_output_of_wrk_is_parsed() -> None:
    expected = {"requests": 1000, "requests_per_second": 400, "p50_ms": 1.5, "p99_ms": 3, "max_ms": 4, "failed": 0}
    assert parse_output(output(), unanswered=8, waiting=2) == expected


def test_errors_and_lost_requests_are_failures() -> None:
    assert parse_output(output(errors=[1, 2, 0, 4, 8], sent=1014), unanswered=8)["failed"] == 15 + 5
    assert parse_output(output(sent=1014), unanswered=64)["failed"] == 0, "each client may wait for a response"


def test_costs_are_means_of_the_logged_requests() -> None:
    costs = {"dynamodb_requests": 1, "dynamodb_read_units": 2.5, "dynamodb_write_units": 0, "postgres_requests": 0}
    entries = [{"event": "request", **costs}, {"event": "unavailable"}, {"event": "request", **costs}]
    entries[2]["dynamodb_requests"] = 2
    log = "a warning\n" + "".join(json.dumps(entry) + "\n" for entry in entries)
    assert parse_log(log.encode() + b'{"event": "requ') == {**costs, "dynamodb_requests": 1.5}
    assert parse_log(b"a warning\n") == {}


def test_tables_have_the_form_of_the_page() -> None:
    tables = markdown(results(), judge(results())).splitlines()
    assert "| many-clients: slowest request, ms | 2,000 | at most 2,000 |" in tables
    assert f"| {MANY} |  |  | 30 | 200 |  | 40 |  |" in tables


def test_ratio_is_taken_within_each_round() -> None:
    figures = [(1000, 500, 10.0), (2000, 1000, 15.0), (9000, 1000, 99.0)]
    rounds = [
        {"naive": {"cpu_us": naive}, "send": {"cpu_us": cpu, "p50_ms": 5.0, "p99_ms": p99}}
        for naive, cpu, p99 in figures
    ]
    assert ratio(rounds, "send", "cpu_us") == 0.5
    assert ratio(rounds, "send", "p99_ms", to="send", of="p50_ms") == 3
    assert middle(rounds, "naive", "cpu_us") == 2000


def test_scale_determines_the_messages_and_rows() -> None:
    listened = sum(len(live_sends(streams)) for streams in STREAMS.values())
    loaded = list(conversations(Scale((45, 60, 100), (20, 25, 41), page=2, short=3)))
    messages = [list(conversation.messages) for conversation in loaded]
    assert len({conversation.group_uuid for conversation in loaded}) == len(loaded)
    assert [len(one) for one in messages] == [45, 60, 100, *[20] * 4, *[1] * (listened + 86)]
    assert len({message.uuid for one in messages for message in one}) == sum(map(len, messages))
    assert all(message.sent_at < following.sent_at for one in messages for message, following in pairwise(one))
    assert len({one[-1].sent_at for one in messages[-41:]}) == 41, "the rows of an inbox have different times"


@pytest.mark.parametrize(("cores", "halves"), [([3], ([3], [3])), ([0, 2, 4], ([0], [2, 4]))])
def test_cores_are_halved(cores: list[int], halves: tuple[list[int], list[int]]) -> None:
    assert halve(cores) == halves


def test_run_is_judged_by_the_targets_of_its_scenarios() -> None:
    assert len(judge(results())) == len(TARGETS) == 30
    assert missed(results()) == []
    assert len(judge({"send": results()["send"]})) == 3


LIST_TARGETS = [
    ("small", {"cpu_us": 481}, "CPU, as a fraction of the naive view's"),
    ("small", {"requests_per_second": 199}, "throughput, as a multiple of the naive view's"),
    ("small", {"p99_ms": 20.1}, "p99, as a multiple of p50 at 8 clients"),
    ("large", {"p50_ms": 5.8}, "p50 of the largest, as a multiple of the smallest's"),
    ("large", {"dynamodb_read_units": 1.2}, "units of the largest, as a multiple of the smallest's"),
]
MISSED = [
    *((name, *target) for name in ("messages", "inbox") for target in LIST_TARGETS),
    ("send", "send", {"p99_ms": 20.1}, "p99, as a multiple of p50 at 8 clients"),
    ("send", "send", {"cpu_us": 701}, "CPU, as a fraction of the naive view's"),
    ("send", "send", {"dynamodb_requests": 1.01}, "round trips"),
    ("processes", "send", {"cpu_us": 1001}, "CPU, as a fraction of the naive view's"),
    ("processes", "send", {"dynamodb_requests": 2.06}, "transactions a message"),
    ("processes", "send", {"dynamodb_requests": 2.06, "dynamodb_read_units": 1.06}, "read units a message"),
    ("processes", "send", {"dynamodb_write_units": 16.1}, "write units a message"),
    ("many-clients", "busy", {"max_ms": 2001}, "slowest request, ms"),
    ("many-clients", "messages", {"failed": 1}, "dropped or failed requests"),
    ("many-clients", "mixed", {"rss_mib": 75.1}, "a worker's memory, MiB"),
    ("live", MANY, {"p50_ms": 30.1}, "p50 from response to arrival, ms"),
    ("live", MANY, {"p99_ms": 200.1}, "p99 from response to arrival, ms"),
    ("live", BESIDE, {"cpu_us": 1101}, "CPU of other sends, as a multiple"),
    ("live", MANY, {"kib_per_stream": 40.1}, "memory of a stream, KiB"),
    ("live", HOUR, {"growth_mib": 1.1}, "growth in the second half of an hour, MiB"),
    ("live", HOUR, {"health_ms": 100.1}, "slowest health check, ms"),
    ("flood", BESIDE_FLOOD, {"p99_ms": 10.1}, "p99 of others, as a multiple"),
    ("startup", "app", {"seconds": 0.61}, "import of the app, s"),
    ("startup", "function", {"seconds": 0.41}, "cold import of the stream function, s"),
    ("startup", "dev", {"seconds": 6.1}, "second ./bin/dev until ready, s"),
]


@pytest.mark.parametrize(("scenario", "subject", "changes", "expected"), MISSED)
def test_missed_target_is_named(scenario: str, subject: str, changes: dict[str, float], expected: str) -> None:
    assert missed(results(scenario, subject, **changes)) == [f"{scenario}: {expected}"]


@pytest.mark.parametrize(("cpu", "status"), [(450, 0), (701, 1)])
def test_exit_status_and_report_name_a_missed_target(
    cpu: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = scripts.load("bench")
    run = results("send", "send", cpu_us=cpu)
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(bench.module, "run", lambda *_: run)
    monkeypatch.setattr(bench.module, "ROOT", tmp_path)
    assert bench([]) == status
    report, tables, plot = sorted((tmp_path / "bench/results").iterdir())
    content = json.loads(report.read_text(), parse_constant=pytest.fail)
    assert len(content["scenarios"]["send"]) == 2
    assert [target["target"] for target in content["targets"] if not target["met"]] == missed(run)
    assert f"| send: CPU, as a fraction of the naive view's | {cpu / 1000:g} | at most 0.7 |" in tables.read_text()
    svg = plot.read_text()
    assert ("send: send" in svg, " src=" in svg, 'href="' in svg) == (True, False, False)
    lines = capfd.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("send "))
    row = next(line for line in lines[start:] if line.startswith("CPU"))
    assert (lines[start].split(), row.split()[-2:]) == (["send", "naive", "send"], ["1", f"{cpu / 1000:g}"])
    assert [line.split(",")[0] for line in lines if line.rstrip().endswith("missed")] == ["send: CPU"] * status


def test_missing_wrk_is_reported_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert scripts.load("bench")([]) == 1
    assert "Debian's package is wrk" in capfd.readouterr().err
