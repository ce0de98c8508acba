"""The benchmark's figures: what wrk saw, medians and ratios, the data's plan, the cores, and every verdict."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench import startup
from bench.dataset import SIZES, Dataset, Sizes
from bench.environment import API, Server, halved
from bench.results import MEMORY, Measured, Results, Sample
from bench.scenarios import BUSY, INBOX, MANY_CLIENTS, MESSAGES, MIXED, NAIVE, PROCESSES, SEND
from bench.targets import SINGLE_TARGETS, TARGETS, judge
from bench.wrk import Request, find_wrk, parse
from tests.support import scripts
from tools.local_stack.processes import EngineError

NAIVE_SAMPLE = Sample(100, cpu_us=1000, busy=1, p50_ms=10, p95_ms=15, p99_ms=30, max_ms=40)
SUBJECTS = {
    MESSAGES: SIZES,
    INBOX: SIZES,
    SEND: (SEND,),
    PROCESSES: (SEND,),
    MANY_CLIENTS: (MESSAGES, MIXED, BUSY),
}


def seen(**changes: int) -> str:
    """wrk's output."""
    counts = {"sent": 1009, "completed": 1000, "p50_us": 1500, "p95_us": 2000, "p99_us": 3000, "max_us": 4000}
    errors = dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0)
    return "Running 1s test\n" + json.dumps({**counts, **errors, "seconds": 4.5, **changes}) + "\n"


def own_sample(scenario: str, **changes: Any) -> Sample:
    """A round that meets every target."""
    reads = {MESSAGES: 2.0, INBOX: 2.0, PROCESSES: 1.0}.get(scenario, 0.0)
    costs = {"dynamodb_requests": reads + 1 if scenario == PROCESSES else 1.0, "dynamodb_read_units": reads}
    writes = {"dynamodb_write_units": 16.0, "postgres_requests": 0.0, "rss_mib": 70.0}
    times = {"p50_ms": 5.0, "p95_ms": 8.0, "p99_ms": 15.0, "max_ms": 20.0}
    return Sample(**{"requests_per_second": 200, "cpu_us": 450, "busy": 1, **times, **costs, **writes, **changes})


def results(scenario: str = "", subject: str = "", figure: str = "", **changes: Any) -> Results:
    """A whole run of two rounds that meets every target, but for what `changes` say of a subject, or for a figure."""
    scenarios = {}
    for name, subjects in SUBJECTS.items():
        samples = {NAIVE: [NAIVE_SAMPLE] * 2}
        for key in subjects:
            samples[key] = [own_sample(name, **(changes if (name, key) == (scenario, subject) else {}))] * 2
        scenarios[name] = Measured(f"title of {name}", {key: f"label of {key}" for key in samples}, samples)
    figures = {name: limit + 0.1 if name == figure else limit for name, limit in SINGLE_TARGETS.items()}
    return Results(["a note"], scenarios, figures)


def missed(run: Results) -> list[str]:
    return [verdict.target for verdict in judge(run) if not verdict.is_met]


def test_last_line_of_wrk_is_read() -> None:
    load = parse(seen(), unanswered=8, waiting=2)
    assert (load.requests, load.seconds, load.failed) == (1000, 2.5, 0)
    assert load.times == {"p50_ms": 1.5, "p95_ms": 2, "p99_ms": 3, "max_ms": 4}


@pytest.mark.parametrize("kind", ["connect", "read", "write", "status", "timeout"])
def test_every_kind_of_error_is_a_failure(kind: str) -> None:
    assert parse(seen(**{kind: 3}), unanswered=8).failed == 3


def test_request_without_an_answer_is_a_failure() -> None:
    assert parse(seen(sent=1014), unanswered=8).failed == 5
    assert parse(seen(sent=1014), unanswered=64).failed == 0, "each client may be waiting at the end"


def test_request_is_a_line_whatever_its_text() -> None:
    assert Request("/a?b=c").line() == "GET\t/a?b=c\t\t"
    line = Request("/a", "token", {"message": "tab\tnew\nline 🍵"}).line()
    method, path, token, body = line.split("\t")
    assert (method, path, token) == ("POST", "/a", "token")
    assert json.loads(body) == {"message": "tab\tnew\nline 🍵"}
    assert "\n" not in line


def test_without_wrk_the_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="Debian's package is wrk"):
        find_wrk()


def test_ratio_is_taken_within_each_round() -> None:
    naive = [own_sample(SEND, cpu_us=cpu) for cpu in (1000, 2000, 9000)]
    own = [own_sample(SEND, cpu_us=cpu, p99_ms=p99) for cpu, p99 in ((500, 10.0), (1000, 15.0), (1000, 99.0))]
    drifting = Measured("title", {}, {"naive": naive, "own": own})
    assert drifting.ratio("own", "cpu_us", to="naive") == 0.5
    assert drifting.ratio("own", "p99_ms", to="own", of="p50_ms") == 3
    assert drifting.median("naive", "cpu_us") == 2000


def test_worst_is_that_of_the_api_alone() -> None:
    samples = {"naive": [NAIVE_SAMPLE] * 2, "own": [own_sample(SEND, max_ms=each) for each in (7.0, 30.0)]}
    assert Measured("title", {}, samples).worst("max_ms") == 30


def test_requests_are_read_once_from_the_log(tmp_path: Path) -> None:
    server = Server(API, {}, workers=1, folder=tmp_path)
    assert server.log is not None
    server.log.write_text('{"event": "request", "status": 1}\na warning of somebody\'s\n{"event": "unavailable"}\n{"ev')
    assert server.logged_requests() == [{"event": "request", "status": 1}]
    with server.log.open("a") as file:
        file.write('ent": "request", "status": 2}\n')
    assert server.logged_requests() == [{"event": "request", "status": 2}]
    assert server.logged_requests() == []


def test_plan_has_as_many_messages_as_it_says_in_conversations_of_their_own() -> None:
    data = Dataset(Sizes((45, 60, 100), (20, 25, 41), active=3, page=2))
    plan = list(data.plan())
    assert len({conversation.group_uuid for conversation in plan}) == len(plan)
    messages = [list(conversation.messages) for conversation in plan]
    assert [len(each) for each in messages[:3]] == [45, 60, 100]
    assert len({message.uuid for each in messages for message in each}) == sum(map(len, messages)) == data.count
    assert all(one.at < other.at for each in messages for one, other in pairwise(each))
    assert len({each[-1].at for each in messages[-41:]}) == 41, "the rows of an inbox have times of their own"
    assert len(data.users()) == 1 + 3 + 2 + 2 * 3


@pytest.mark.parametrize(
    ("cores", "halves"),
    [([3], ([3], [3])), ([0, 1], ([0], [1])), ([0, 2, 4], ([0], [2, 4])), ([0, 1, 2, 3], ([0, 1], [2, 3]))],
)
def test_cores_are_halved(cores: list[int], halves: tuple[list[int], list[int]]) -> None:
    assert halved(cores) == halves


def test_run_that_reaches_everything_is_judged_by_every_target() -> None:
    assert len(list(judge(results()))) == len(TARGETS) + len(SINGLE_TARGETS)
    assert missed(results()) == []


@pytest.mark.parametrize(
    ("scenario", "subject", "changes", "expected"),
    [
        (MESSAGES, "small", {"cpu_us": 481}, "CPU, parts of the naive view's"),
        (MESSAGES, "small", {"requests_per_second": 199}, "throughput, times the naive view's"),
        (INBOX, "small", {"cpu_us": 481}, "CPU, parts of the naive view's"),
        (INBOX, "small", {"requests_per_second": 199}, "throughput, times the naive view's"),
        (SEND, SEND, {"cpu_us": 701}, "CPU, parts of the naive view's"),
        (SEND, SEND, {"dynamodb_requests": 1.01}, "round trips"),
        (PROCESSES, SEND, {"cpu_us": 1001}, "CPU, parts of the naive view's"),
        (PROCESSES, SEND, {"dynamodb_requests": 2.06}, "transactions a message"),
        (PROCESSES, SEND, {"dynamodb_requests": 2.06, "dynamodb_read_units": 1.06}, "read units a message"),
        (PROCESSES, SEND, {"dynamodb_write_units": 16.1}, "write units a message"),
        (MESSAGES, "large", {"p50_ms": 5.8}, "p50 of the largest, times the smallest's"),
        (MESSAGES, "large", {"dynamodb_read_units": 2.5}, "units of the largest, times the smallest's"),
        (INBOX, "large", {"p50_ms": 5.8}, "p50 of the largest, times the smallest's"),
        (INBOX, "large", {"dynamodb_read_units": 2.5}, "units of the largest, times the smallest's"),
        (MESSAGES, "small", {"p99_ms": 20.1}, "p99, times p50 at 8 clients"),
        (INBOX, "small", {"p99_ms": 20.1}, "p99, times p50 at 8 clients"),
        (SEND, SEND, {"p99_ms": 20.1}, "p99, times p50 at 8 clients"),
        (MANY_CLIENTS, BUSY, {"max_ms": 2001}, "slowest request, ms"),
        (MANY_CLIENTS, MESSAGES, {"failed": 1}, "dropped or failed requests"),
    ],
)
def test_missed_target_is_seen(scenario: str, subject: str, changes: dict[str, Any], expected: str) -> None:
    assert missed(results(scenario, subject, **changes)) == [f"{scenario}: {expected}"]


@pytest.mark.parametrize("figure", [MEMORY, startup.APP_IMPORT, startup.FUNCTION_IMPORT, startup.DEV_SECOND])
def test_missed_single_figure_is_seen(figure: str) -> None:
    assert missed(results(figure=figure)) == [figure]


def test_what_was_not_measured_is_not_judged() -> None:
    only = Results([], {SEND: results().scenarios[SEND]})
    assert {verdict.target.partition(":")[0] for verdict in judge(only)} == {SEND}


@pytest.mark.parametrize(("cpu", "status"), [(450, 0), (701, 1)])
def test_exit_status_table_json_and_plot_say_whether_a_target_is_missed(
    cpu: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = scripts.load("bench")
    monkeypatch.setattr(bench.module, "find_wrk", lambda: "wrk")
    monkeypatch.setattr(bench.module, "measured", lambda plan, engine: results(SEND, SEND, cpu_us=cpu))
    assert bench(["--output", str(tmp_path)]) == status
    described, plot = sorted(tmp_path.iterdir())
    read = json.loads(described.read_text(), parse_constant=pytest.fail)
    assert len(read["scenarios"][SEND]["samples"][SEND]) == 2
    assert [target["target"] for target in read["targets"] if not target["met"]] == missed(
        results(SEND, SEND, cpu_us=cpu)
    )
    svg = plot.read_text()
    assert "send: label of send" in svg
    assert " src=" not in svg
    assert 'href="' not in svg
    lines = capfd.readouterr().out.splitlines()
    assert "a note" in lines
    row = next(line for line in lines[lines.index("title of send") :] if line.startswith("label of send"))
    assert row.split()[3:6] == [f"{cpu / 1000:.2f}", "2.00", str(cpu)]
    assert [line for line in lines if line.rstrip().endswith("missed")] == [
        line for line in lines if status and line.startswith("send: CPU")
    ]
