"""The benchmark's figures: wrk's counts, medians and ratios, the log, the dataset, every target, and the report."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from bench.environment import API, Server, halve
from bench.results import SINGLE_TARGETS, TARGETS, Measured, Results, judge
from bench.run import parse
from bench.scenarios import (
    BUSY,
    INBOX,
    LARGE,
    MANY_CLIENTS,
    MESSAGES,
    MIXED,
    NAIVE,
    PROCESSES,
    SEND,
    SIZES,
    SMALL,
    Dataset,
    Request,
    Scale,
)
from tests.support import scripts

NAIVE_SAMPLE = {"requests_per_second": 100.0, "cpu_us": 1000.0, "p50_ms": 10.0, "max_ms": 9000.0}
API_SAMPLE = {
    "requests_per_second": 200.0,
    "cpu_us": 450.0,
    "p50_ms": 5.0,
    "p99_ms": 20.0,
    "max_ms": 2000.0,
    "failed": 0.0,
    "dynamodb_requests": 1.0,
    "dynamodb_read_units": 0.0,
    "dynamodb_write_units": 16.0,
}
SUBJECTS = {MESSAGES: SIZES, INBOX: SIZES, SEND: [SEND], PROCESSES: [SEND], MANY_CLIENTS: [MESSAGES, MIXED, BUSY]}
READS = {"dynamodb_requests": 2.05, "dynamodb_read_units": 1.0}


def output(**changes: int) -> str:
    """The output of wrk."""
    counts = {"sent": 1009, "completed": 1000, "p50_us": 1500, "p95_us": 2000, "p99_us": 3000, "max_us": 4000}
    errors = dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0)
    return "Running 1s test\n" + json.dumps({**counts, **errors, "seconds": 4.5, **changes}) + "\n"


def results(scenario: str = "", subject: str = "", **changes: float) -> Results:
    """A run of two rounds that meets every target, most of them just so, but for the changes to a subject."""
    run = Results(figures=dict(SINGLE_TARGETS))
    for name, subjects in SUBJECTS.items():
        samples = {NAIVE: [NAIVE_SAMPLE] * 2}
        for key in subjects:
            sample = API_SAMPLE | (READS if name in (MESSAGES, INBOX, PROCESSES) else {})
            samples[key] = [sample | (changes if (name, key) == (scenario, subject) else {})] * 2
        run.scenarios[name] = Measured(samples)
    return run


def missed(run: Results) -> list[str]:
    return [verdict.target for verdict in judge(run) if not verdict.is_met]


def test_result_of_wrk_is_parsed() -> None:
    assert parse(output(), unanswered=8, waiting=2) == {
        "requests": 1000,
        "seconds": 2.5,
        "failed": 0,
        "p50_ms": 1.5,
        "p95_ms": 2,
        "p99_ms": 3,
        "max_ms": 4,
    }


@pytest.mark.parametrize("kind", ["connect", "read", "write", "status", "timeout"])
def test_errors_and_lost_requests_are_failures(kind: str) -> None:
    assert parse(output(**{kind: 3}, sent=1014), unanswered=8)["failed"] == 3 + 5
    assert parse(output(sent=1014), unanswered=64)["failed"] == 0, "each client may wait for a response at the end"


def test_request_is_one_line_with_any_text() -> None:
    assert Request("/a?b=c").line() == "GET\t/a?b=c\t\t"
    *start, body = Request("/a", "token", {"message": "tab\tnew\nline"}).line().split("\t")
    assert (start, body) == (["POST", "/a", "token"], r'{"message": "tab\tnew\nline"}')


def test_ratio_is_taken_within_each_round() -> None:
    naive = [API_SAMPLE | {"cpu_us": cpu} for cpu in (1000, 2000, 9000)]
    api = [API_SAMPLE | {"cpu_us": cpu, "p99_ms": p99} for cpu, p99 in ((500, 10.0), (1000, 15.0), (1000, 99.0))]
    drifting = Measured({NAIVE: naive, SEND: api})
    assert drifting.ratio(SEND, "cpu_us") == 0.5
    assert drifting.ratio(SEND, "p99_ms", to=SEND, of="p50_ms") == 3
    assert drifting.median(NAIVE, "cpu_us") == 2000


def test_log_entries_are_read_once(tmp_path: Path) -> None:
    server = Server(API, {}, workers=1, folder=tmp_path)
    server.log.write_text('{"event": "request", "status": 1}\na warning\n{"event": "unavailable"}\n{"ev')
    assert server.logged_requests() == [{"event": "request", "status": 1}]
    with server.log.open("a") as file:
        file.write('ent": "request", "status": 2}\n')
    assert server.logged_requests() == [{"event": "request", "status": 2}]
    assert server.logged_requests() == []


def test_dataset_has_the_messages_and_rows_of_its_scale() -> None:
    data = Dataset(Scale((45, 60, 100), (20, 25, 41), page=2, short=3))
    conversations = list(data.conversations())
    assert len({conversation.group_uuid for conversation in conversations}) == len(conversations)
    messages = [list(conversation.messages) for conversation in conversations]
    assert [len(one) for one in messages] == [45, 60, 100, *[20] * 4, *[1] * 86]
    assert len({message.uuid for one in messages for message in one}) == sum(map(len, messages))
    assert all(message.at < following.at for one in messages for message, following in pairwise(one))
    assert len({one[-1].at for one in messages[-41:]}) == 41, "the rows of an inbox have different times"
    assert len(data.users()) == 4 + 3 + 2 + 2 * 3


@pytest.mark.parametrize(("cores", "halves"), [([3], ([3], [3])), ([0, 2, 4], ([0], [2, 4]))])
def test_cores_are_halved(cores: list[int], halves: tuple[list[int], list[int]]) -> None:
    assert halve(cores) == halves


def test_run_that_meets_all_targets_is_judged_by_all_that_it_measured() -> None:
    assert len(list(judge(results()))) == len(TARGETS) + len(SINGLE_TARGETS)
    assert missed(results()) == []
    assert len(list(judge(Results({SEND: results().scenarios[SEND]})))) == 3


LIST_TARGETS = [
    (SMALL, {"cpu_us": 481}, "CPU, parts of the naive view's"),
    (SMALL, {"requests_per_second": 199}, "throughput, times the naive view's"),
    (SMALL, {"p99_ms": 20.1}, "p99, times p50 at 8 clients"),
    (LARGE, {"p50_ms": 5.8}, "p50 of the largest, times the smallest's"),
    (LARGE, {"dynamodb_read_units": 1.2}, "units of the largest, times the smallest's"),
]
MISSED = [
    *((name, *target) for name in (MESSAGES, INBOX) for target in LIST_TARGETS),
    (SEND, SEND, {"p99_ms": 20.1}, "p99, times p50 at 8 clients"),
    (SEND, SEND, {"cpu_us": 701}, "CPU, parts of the naive view's"),
    (SEND, SEND, {"dynamodb_requests": 1.01}, "round trips"),
    (PROCESSES, SEND, {"cpu_us": 1001}, "CPU, parts of the naive view's"),
    (PROCESSES, SEND, {"dynamodb_requests": 2.06}, "transactions a message"),
    (PROCESSES, SEND, {"dynamodb_requests": 2.06, "dynamodb_read_units": 1.06}, "read units a message"),
    (PROCESSES, SEND, {"dynamodb_write_units": 16.1}, "write units a message"),
    (MANY_CLIENTS, BUSY, {"max_ms": 2001}, "slowest request, ms"),
    (MANY_CLIENTS, MESSAGES, {"failed": 1}, "dropped or failed requests"),
]


@pytest.mark.parametrize(("scenario", "subject", "changes", "expected"), MISSED)
def test_missed_target_is_named(scenario: str, subject: str, changes: dict[str, float], expected: str) -> None:
    assert missed(results(scenario, subject, **changes)) == [f"{scenario}: {expected}"]


@pytest.mark.parametrize(("figure", "value"), list(zip(SINGLE_TARGETS, (75.1, 0.61, 0.41, 6.1), strict=True)))
def test_missed_single_target_is_named(figure: str, value: float) -> None:
    assert missed(Results(figures=SINGLE_TARGETS | {figure: value})) == [figure]


@pytest.mark.parametrize(("cpu", "status"), [(450, 0), (701, 1)])
def test_exit_status_and_report_name_a_missed_target(
    cpu: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = scripts.load("bench")
    run = results(SEND, SEND, cpu_us=cpu)
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(bench.module, "run", lambda *_: run)
    assert bench(["--output", str(tmp_path)]) == status
    report, plot = sorted(tmp_path.iterdir())
    read = json.loads(report.read_text(), parse_constant=pytest.fail)
    assert len(read["scenarios"][SEND]["samples"][SEND]) == 2
    assert [target["target"] for target in read["targets"] if not target["met"]] == missed(run)
    svg = plot.read_text()
    assert (f"{SEND}: {SEND}" in svg, " src=" in svg, 'href="' in svg) == (True, False, False)
    lines = capfd.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith(f"{SEND} "))
    assert row.split()[1:4] == [f"{cpu / 1000:.2f}", "2.00", str(cpu)]
    assert [line.split(",")[0] for line in lines if line.rstrip().endswith("missed")] == ["send: CPU"] * status


def test_without_wrk_the_error_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert scripts.load("bench")([]) == 1
    assert "Debian's package is wrk" in capfd.readouterr().err
