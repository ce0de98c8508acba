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
from bench.run import Plan, run
from bench.scenarios import FLOOR, LOOP, MESSAGES, NAIVE, PROCESSES, SEND
from bench.targets import judge
from lib.config import ROOT
from tests.support.dev import eventually, processes_of

pytestmark = pytest.mark.bench

TINY = Plan(
    Sizes((21, 22, 41), (1, 2, 3), active=20, page=3), rounds=1, seconds=1, startups=1, only=[MESSAGES, PROCESSES]
)
"""The other scenarios differ in their requests alone."""


def test_run_gives_a_table_a_plot_and_json_with_sane_figures(
    dynamodb_url: str, new_database: Callable[[], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    results = run(TINY, dynamodb_url, new_database(), {}, tmp_path, said.append)
    verdicts = list(judge(results))
    report.print_results(results, verdicts)
    report.write_json(results, verdicts, tmp_path / "run.json")
    report.write_plot(results, tmp_path / "run.svg")

    scenarios = json.loads((tmp_path / "run.json").read_text())["scenarios"]
    subjects = {**scenarios[PROCESSES]["samples"], **scenarios[MESSAGES]["samples"]}
    assert list(subjects) == [NAIVE, FLOOR, SEND, "small", "medium", "large", "far", LOOP]
    for key, [sample] in subjects.items():
        assert sample["requests_per_second"] > 1, key
        assert 10 < sample["cpu_us"] < 100_000, key
        assert 0 < sample["p50_ms"] <= sample["p95_ms"] <= sample["p99_ms"] <= sample["max_ms"], key
        assert sample["failed"] == 0, key
    assert subjects[FLOOR][0]["cpu_us"] < subjects[NAIVE][0]["cpu_us"]
    assert subjects[SEND][0]["dynamodb_write_units"] == 16
    assert subjects["far"][0]["dynamodb_read_units"] == 1
    assert 20 < subjects[SEND][0]["rss_mib"] < 500

    out = capfd.readouterr().out
    assert "a message in one of 20 conversations" in out
    assert "processes: transactions a message" in out
    assert "Loading 510 messages …" in said
    assert (tmp_path / "run.svg").read_text().count("<rect") > len(subjects)


def test_interrupted_benchmark_leaves_nothing_behind(tmp_path: Path) -> None:
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
