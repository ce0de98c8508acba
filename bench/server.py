"""The server under test: an application behind serve.py. wrk sends requests to it.

wrk is a closed loop: a client waits for its response before its next request, so a server that stalls gets fewer
requests (coordinated omission). Its percentiles compare servers; they promise nothing to a user.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean

import psutil

from bench.results import Sample
from bench.scenarios import Request
from lib.config import ROOT
from tools.local_stack.processes import LOOPBACK, Child, bare_environment, free_port, responds

_COSTS = ("dynamodb_requests", "dynamodb_read_units", "dynamodb_write_units", "postgres_requests")


class Server(Child):
    """An application behind the server of production, on a free port of loopback."""

    log: Path

    def __init__(self, application: str, variables: dict[str, str], folder: Path) -> None:
        self.port = port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        self._requests = folder / f"{port}.requests"
        super().__init__(
            application,
            [sys.executable, ROOT / "serve.py", application],
            env=bare_environment(**variables, PORT=str(port)),
            ready=responds(self.url, accept=lambda status: status in (200, 404)),
            log=folder / f"{port}.log",
            cwd=ROOT,
        )

    def measure(self, requests: list[Request], seconds: int, *, clients: int, waiting: int = 0) -> Sample:
        """Send the requests for `seconds`, after one second of the same load, so that the last writes are recent.

        At the end wrk drops the requests without a response. With `waiting`, it waits so many seconds for them, which
        shows requests that starve.
        """
        self._requests.write_text("".join("\t".join(request) + "\n" for request in requests))
        self._drive(1, clients)
        if waiting:
            time.sleep(-time.time() % 1)  # bench/drive.lua counts whole seconds
        log_size, cpu_before = self.log.stat().st_size, self._cpu_seconds()
        output = self._drive(seconds, clients, waiting)
        time.sleep(0.1)  # for the last responses and their log lines
        sample = parse_output(output, unanswered=0 if waiting else clients, waiting=waiting)
        return {
            "cpu_us": (self._cpu_seconds() - cpu_before) / max(sample["requests"], 1) * 1e6,
            **sample,
            **parse_log(self.log.read_bytes()[log_size:]),
            "rss_mib": max(worker.memory_info().rss for worker in self._workers()) / 2**20,
        }

    def _drive(self, seconds: int, clients: int, waiting: int = 0) -> str:
        command: list[str | Path] = [
            *("wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{seconds + waiting}s"),
            # More than the two seconds that the API takes at most, so wrk also measures slow requests.
            *("--timeout", "10s", "--script", ROOT / "bench/drive.lua", self.url, "--", self._requests),
            *([str(seconds)] if waiting else []),
        ]
        return subprocess.check_output(command, env=bare_environment(), text=True)

    def _cpu_seconds(self) -> float:
        """User and system time of the workers so far, as the kernel counts it."""
        return float(sum(sum(worker.cpu_times()[:2]) for worker in self._workers()))

    def _workers(self) -> list[psutil.Process]:
        self.raise_if_dead()
        return psutil.Process(self.pid).children(recursive=True)


def parse_output(output: str, *, unanswered: int, waiting: int = 0) -> Sample:
    """The sample in the last line of wrk's output. The rate leaves the `waiting` seconds out.

    So many `unanswered` requests may lack a response. Every other request without a response counts as failed.
    """
    counts = json.loads(output.splitlines()[-1])
    # wrk silently reopens a connection that the server closes: only these counts show the request that was lost on it.
    # wrk makes one more request and does not send it, to look at the script.
    dropped = max(0, counts["sent"] - counts["completed"] - unanswered - 1)
    return {
        "requests": counts["completed"],
        "requests_per_second": counts["completed"] / (counts["seconds"] - waiting),
        **{f"{name}_ms": counts[f"{name}_us"] / 1000 for name in ("p50", "p99", "max")},
        "failed": sum(counts["errors"]) + dropped,
    }


def parse_log(log: bytes) -> Sample:
    """The mean costs of a request in the API's log; empty for the baseline, which logs no request."""
    entries = [json.loads(line) for line in log.split(b"\n")[:-1] if line.startswith(b"{")]
    requests = [entry for entry in entries if entry["event"] == "request"]
    return {name: fmean(entry[name] for entry in requests) for name in _COSTS} if requests else {}
