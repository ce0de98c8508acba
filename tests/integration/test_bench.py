"""The benchmark, from its load to its verdicts, on a table of a few messages. It needs wrk, and npm for dynoxide.

Live updates keep the limits of the benchmark here too. Two figures have more room, because one short run varies.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from bench.results import judge, print_results, write_results
from bench.run import run
from bench.scenarios import (
    CONSTANT,
    FAR,
    FLOOR,
    HOUR,
    LARGE,
    LIVE,
    LOOP,
    MANY,
    MESSAGES,
    NAIVE,
    PROCESSES,
    SEND,
    SIZES,
    STREAMS,
    Scale,
)
from lib.config import ROOT
from tests.support.clocks import eventually
from tests.support.dev import processes_of

pytestmark = pytest.mark.bench


def test_run_gives_plausible_figures(engines: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scale = Scale((21, 22, 41), (1, 2, 3), page=3, short=20, rounds=1, seconds=1)
    results = run(scale, [MESSAGES, PROCESSES], tmp_path, engines)
    verdicts = judge(results)
    print_results(results, verdicts)
    write_results(results, verdicts, tmp_path / "run.json")

    samples = results[PROCESSES][0] | results[MESSAGES][0]
    assert set(samples) == {NAIVE, FLOOR, SEND, *SIZES, FAR, LOOP}
    for key, sample in samples.items():
        assert sample["requests_per_second"] > 1, key
        assert 10 < sample["cpu_us"] < 100_000, key
        assert 0 < sample["p50_ms"] <= sample["p99_ms"], key
        assert sample.get("failed", 0) == 0, key
    assert samples[FLOOR]["cpu_us"] < samples[NAIVE]["cpu_us"]
    assert samples[SEND]["dynamodb_write_units"] == 16
    assert samples[FAR]["dynamodb_read_units"] == 0.5 * samples[LARGE]["dynamodb_read_units"]
    assert 20 < samples[SEND]["rss_mib"] < 500
    assert "processes: transactions a message" in capfd.readouterr().out
    assert (tmp_path / "run.svg").read_text().count("<rect") > len(samples)


def test_thousand_streams_keep_the_promises(engines: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scale = Scale((1, 1, 1), (1, 1, 1), page=1, short=32, rounds=1, seconds=5, live=150, hour=400, idle=5)
    results = run(scale, [LIVE], tmp_path, engines)
    verdicts = judge(results)
    print_results(results, verdicts)

    room = {"live: CPU of other sends, as a multiple": 1.5, "live: slowest health check, ms": 300}
    missed = [verdict for verdict in verdicts if verdict.value > room.get(verdict.target, verdict.limit)]
    assert missed == []
    assert len(verdicts) == 6
    (samples,) = results[LIVE]
    for subject in STREAMS:
        assert samples[CONSTANT + subject]["cpu_us"] < samples[subject]["cpu_us"] < 100_000
        assert samples[CONSTANT + subject]["p50_ms"] < samples[subject]["p50_ms"] <= samples[subject]["max_ms"]
    assert samples[CONSTANT + MANY]["kib_per_stream"] < samples[MANY]["kib_per_stream"]
    assert samples[HOUR]["requests_per_second"] > 10


def test_interrupted_benchmark_leaves_nothing_behind(engines: Path, tmp_path: Path) -> None:
    log = tmp_path / "output"
    variables = {**os.environ, "TMPDIR": str(tmp_path), "LOCAL_DIR": str(engines.parent), "PYTHONUNBUFFERED": "1"}
    command = [ROOT / "bin/bench", "--quick", "--only", MESSAGES]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=variables, stdout=file, stderr=file, start_new_session=True)
    assert eventually(lambda: "Loading" in log.read_text(), or_ended=process), log.read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert log.read_text().endswith("Interrupted\n")
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == [log]
