"""The benchmark's figures: what wrk saw, medians and ratios, the data's plan, the choice of engine and cores."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench import engines
from bench.cores import Cores
from bench.dataset import PAGE_ROWS, Dataset, Sizes, last_page, row_above
from bench.load import Request, drive_to_the_end, find_wrk, parse, write_requests
from bench.measure import Sample, Scenario, measure
from bench.results import MEMORY, Measured, Results
from bench.servers import API, Costs, Server
from lib.local.processes import EngineError
from tests.scripted_server import GOOD, ScriptedServer, end, say

SIZES = Sizes((45, 60, 100), (20, 25, 41), cool=3, page=1_000)


def seen(**changes: int) -> str:
    """wrk's output."""
    counts = {"sent": 1009, "completed": 1000, "p50_us": 1500, "p95_us": 2000, "p99_us": 3000, "max_us": 4000}
    errors = dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0)
    return "Running 1s test\n" + json.dumps({**counts, **errors, "seconds": 2.5, **changes}) + "\n"


def sample(**changes: Any) -> Sample:
    plain = {"requests_per_second": 100.0, "cpu_us": 1000.0, "busy": 0.9, "p50_ms": 2.0, "p95_ms": 3.0, "p99_ms": 4.0}
    return Sample(**{**plain, "max_ms": 5.0, **changes})


def measured(**subjects: list[Sample]) -> Measured:
    return Measured("title", {key: key for key in subjects}, subjects)


def test_what_wrk_saw_is_read_from_its_last_line() -> None:
    load = parse(seen(), clients=8)
    assert (load.requests, load.seconds, load.failed) == (1000, 2.5, 0)
    assert (load.p50_ms, load.p95_ms, load.p99_ms, load.max_ms) == (1.5, 2, 3, 4)


@pytest.mark.parametrize("kind", ["connect", "read", "write", "status", "timeout"])
def test_every_kind_of_error_is_a_failure(kind: str) -> None:
    assert parse(seen(**{kind: 3}), clients=8).failed == 3


def test_a_request_whose_connection_was_closed_without_an_answer_is_a_failure() -> None:
    assert parse(seen(sent=1014), clients=8).failed == 5
    assert parse(seen(sent=1014), clients=64).failed == 0, "each client may be waiting at the end"


def test_a_request_is_a_line_whatever_its_text() -> None:
    assert Request("/a?b=c").line() == "GET\t/a?b=c\t\t"
    line = Request("/a", "token", {"message": "tab\tnew\nline 🍵"}).line()
    method, path, token, body = line.split("\t")
    assert (method, path, token) == ("POST", "/a", "token")
    assert json.loads(body) == {"message": "tab\tnew\nline 🍵"}
    assert "\n" not in line


def test_without_wrk_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EngineError, match="Debian's package is wrk"):
        find_wrk()


def test_clients_that_wait_see_what_starves_and_what_fails(tmp_path: Path) -> None:
    def late(connection: socket.socket) -> None:
        time.sleep(1.2)  # the load lasts for one second
        connection.sendall(GOOD)

    requests = [Request("/a", "token", {"message": "one 🍵"}), Request("/b", "token", {"message": "two"})]
    with ScriptedServer() as server:
        server.plays = [
            late,
            end(),
            say(GOOD.replace(b"200 OK", b"503 Service Unavailable")),
        ]
        server.answer = lambda body: time.sleep(0.01) or GOOD  # type: ignore[func-returns-value]
        load = drive_to_the_end(server.url, write_requests(tmp_path / "requests", requests), clients=3, seconds=1)
    assert load.failed == 2
    assert load.max_ms >= 1200
    assert load.seconds >= 1.2
    assert 10 <= load.p50_ms <= load.p95_ms <= load.p99_ms <= load.max_ms
    assert load.requests == len(server.requests)
    assert {body for _, body in server.requests} == {b'{"message": "one \\ud83c\\udf75"}', b'{"message": "two"}'}
    assert all(b"\r\nAuthorization: Bearer token\r\n" in head for head, _ in server.requests)


def test_a_ratio_is_taken_within_each_round() -> None:
    drifting = measured(
        naive=[sample(cpu_us=1000), sample(cpu_us=2000), sample(cpu_us=9000)],
        ours=[sample(cpu_us=500), sample(cpu_us=1000), sample(cpu_us=1000)],
    )
    assert drifting.ratio("ours", "cpu_us", to="naive") == 0.5
    assert drifting.median("naive", "cpu_us") == 2000
    assert drifting.spread("naive", "cpu_us") == 4


def test_the_tail_is_the_median_of_the_rounds() -> None:
    rounds = [sample(p50_ms=1.0, p99_ms=p99) for p99 in (2.0, 3.0, 50.0)]
    assert measured(ours=rounds).tail("ours") == 3


def test_the_worst_is_that_of_the_api_alone() -> None:
    ours = [sample(dynamodb_requests=1, max_ms=7.0), sample(dynamodb_requests=1, max_ms=30.0)]
    both = measured(naive=[sample(max_ms=99.0)] * 2, ours=ours)
    assert both.own == ["ours"]
    assert both.worst("max_ms") == 30


def test_the_memory_is_that_of_the_largest_worker_of_all_scenarios() -> None:
    def of(rss: float) -> Measured:
        return measured(naive=[sample(rss_mib=90.0)], ours=[sample(dynamodb_requests=1, rss_mib=rss)])

    results = Results([], {"messages": of(60.0), "inbox": of(70.0)})
    results.note_memory()
    assert results.figures == {MEMORY: 70}


class Turn:
    """A subject that notes when it was its turn."""

    def __init__(self, name: str, turns: list[str]) -> None:
        self.name, self.turns = name, turns

    def warm_up(self) -> None:
        self.turns.append(f"warm {self.name}")

    def measure(self, seconds: int) -> Sample:
        self.turns.append(f"{self.name} {seconds}")
        return sample()


def test_subjects_take_turns_after_all_are_warm() -> None:
    turns: list[str] = []
    subjects = {name: Turn(name, turns) for name in ("naive", "ours")}
    samples = measure(Scenario("x", "X", subjects, {}), rounds=2, seconds=3)
    assert turns == ["warm naive", "warm ours", "naive 3", "ours 3", "naive 3", "ours 3"]
    assert {key: len(each) for key, each in samples.items()} == {"naive": 2, "ours": 2}


def test_costs_are_the_mean_of_the_requests_since_the_log_was_skipped(tmp_path: Path) -> None:
    def line(event: str, **fields: float) -> str:
        return json.dumps({"event": event, **fields}) + "\n"

    log = tmp_path / "log"
    server = Server(API, {}, workers=1, log=log)
    log.write_text(line("request", dynamodb_requests=9, dynamodb_capacity_units=9, postgres_requests=9))
    server.skip_log()
    assert server.costs() is None
    with log.open("a") as file:
        file.write(line("request", dynamodb_requests=1, dynamodb_capacity_units=16.0, postgres_requests=0))
        file.write("a warning of somebody's\n" + line("unavailable"))
        file.write(line("request", dynamodb_requests=2, dynamodb_capacity_units=2.0, postgres_requests=1))
        file.write('{"event": "request", "dyn')  # is being written
    assert server.costs() == Costs(dynamodb_requests=1.5, capacity_units=9, postgres_requests=0.5)


def test_the_plan_has_as_many_messages_as_it_says_in_conversations_of_their_own() -> None:
    data = Dataset(SIZES)
    plan = list(data.plan())
    assert len({conversation.group_uuid for conversation in plan}) == len(plan)
    messages = [list(conversation.messages) for conversation in plan]
    assert sum(map(len, messages)) == data.messages
    assert [len(talk) for talk in messages[:3]] == list(SIZES.conversations)
    assert len({message.uuid for talk in messages for message in talk}) == data.messages
    assert all(one.at < other.at for talk in messages for one, other in pairwise(talk))


def test_the_rows_of_an_inbox_have_times_of_their_own() -> None:
    inbox = Dataset(SIZES).inboxes["large"]
    ends = [talk.ends for talk in inbox.talks()]
    assert len(set(ends)) == inbox.count == 41
    assert [inbox.at(number) for number in range(1, 42)] == ends == sorted(ends)


def test_who_signs_in_is_named_once() -> None:
    people = Dataset(SIZES).people()
    assert len({user.handle for user in people}) == len({user.uuid for user in people}) == len(people) == 1 + 3 + 2 * 4


@pytest.mark.parametrize(("count", "page", "above"), [(100, 1, 101), (100, 2, 81), (100, 5, 21), (100, 99, 21)])
def test_a_cursor_stands_right_above_its_page(count: int, page: int, above: int) -> None:
    assert row_above(count, page) == above


@pytest.mark.parametrize(("count", "pages"), [(1, 1), (PAGE_ROWS, 1), (PAGE_ROWS + 1, 2), (20_000, 1_000)])
def test_the_last_page_may_be_short(count: int, pages: int) -> None:
    assert last_page(count) == pages


@pytest.mark.parametrize(
    ("available", "measured_cores", "neighbours"),
    [({3}, (3,), (3,)), ({0, 1}, (0,), (1,)), ({0, 2, 4}, (0,), (2, 4)), (set(range(8)), (0, 1, 2, 3), (4, 5, 6, 7))],
)
def test_the_cores_are_halved(
    available: set[int], measured_cores: tuple[int, ...], neighbours: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: available, raising=False)
    cores = Cores.divided()
    assert (cores.measured, cores.neighbours, set(cores.every)) == (measured_cores, neighbours, available)
    assert ("not divided" in cores.note) == (len(available) == 1)


class Absent:
    """An engine that this machine cannot start."""

    def __init__(self, *_: object, **__: object) -> None:
        raise EngineError("npm is not installed\nand more")


class Present(ExitStack):
    """An engine that starts at once."""

    url = "http://127.0.0.1:1"

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()


def test_the_fastest_engine_that_starts_is_taken_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "Dynoxide", Absent)
    monkeypatch.setattr(engines, "DynamoDBLocal", Present)
    with ExitStack() as running:
        engine = engines.start_engine(None, tmp_path, downloads=tmp_path, running=running)
        assert engine.notes[0] == (
            "Engine: dynamodb-local, the fastest that starts here; no dynoxide (npm is not installed)."
        )
        assert engine.streams
        monkeypatch.setattr(engines, "Dynoxide", Present)
        engine = engines.start_engine(None, tmp_path, downloads=tmp_path, running=running)
        assert (engine.name, engine.streams, len(engine.notes)) == ("dynoxide", False, 2)


def test_an_engine_that_is_asked_for_has_no_substitute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "Dynoxide", Absent)
    with ExitStack() as running, pytest.raises(EngineError, match="npm"):
        engines.start_engine("dynoxide", tmp_path, downloads=tmp_path, running=running)
