"""The benchmark, from its load to its verdicts, on a table of a few messages; it needs wrk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import report
from bench.dataset import Sizes
from bench.engines import Engine
from bench.plot import write_plot
from bench.run import Plan, run
from bench.scenarios import FLOOR, LOOP, NAIVE, SEND
from bench.targets import judge
from lib.config import ROOT
from tests.dev import eventually, processes_of

pytestmark = pytest.mark.bench

TINY = Plan(Sizes((21, 22, 23), (1, 2, 3), cool=3, page=2), rounds=1, seconds=1, cold_runs=1, only=[SEND])
"""A send is the longest way through all of it; the other scenarios differ in their requests alone."""


def test_a_run_gives_a_table_a_plot_and_json_with_sane_figures(
    dynamodb_url: str, new_database: Callable[[], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    results = run(TINY, Engine("engine", dynamodb_url, "of the tests"), new_database(), {}, tmp_path, said.append)
    verdicts = list(judge(results))
    report.print_results(results, verdicts)
    report.write_json(results, verdicts, tmp_path / "run.json")
    write_plot(results, tmp_path / "run.svg")

    subjects = json.loads((tmp_path / "run.json").read_text())["scenarios"][SEND]["subjects"]
    assert list(subjects) == [NAIVE, SEND, FLOOR, LOOP]
    medians = {key: subject["medians"] for key, subject in subjects.items()}
    for key, figures in medians.items():
        assert figures["requests_per_second"] > 1, key
        assert 10 < figures["cpu_us"] < 100_000, key
        assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"] <= figures["max_ms"], key
        assert figures["failed"] == 0, key
    assert medians[FLOOR]["cpu_us"] < medians[NAIVE]["cpu_us"]
    assert medians[SEND]["dynamodb_requests"] == 1
    assert medians[SEND]["postgres_requests"] == 0
    assert 20 < medians[SEND]["rss_mib"] < 500

    out = capfd.readouterr().out
    assert "a message in one of 3 conversations" in out
    assert "send: round trips" in out
    assert {"Loading 197 messages …", "197"} <= set(said)
    assert (tmp_path / "run.svg").read_text().count("<rect") > len(subjects)


def test_a_benchmark_that_is_interrupted_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "said"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [ROOT / "bin/bench", "--quick", "--engine", "ministack", "--output", tmp_path / "results"],
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    assert eventually(lambda: "Loading" in log.read_text(), or_ended=process), log.read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert log.read_text().endswith("Interrupted\n")
    assert processes_of(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["said"]
