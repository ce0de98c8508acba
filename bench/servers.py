"""The servers that are measured: the API as production starts it, and the naive one under the same server and settings.

What they use is read from outside, from the kernel's counts of their workers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.cores import place
from lib.config import ROOT
from lib.local.processes import LOOPBACK, Child, EngineError, answers, bare_environment, free_port

SERVER = "Server: serve.py, as in production, for the API and for the naive view alike."
API, NAIVE = "app:create_app", "bench.naive:create_app"
_PROBES = {API: "/api/health-check", NAIVE: "/floor"}


@dataclass(frozen=True, slots=True)
class Costs:
    """What a call of the API took at its stores, in the mean over its log lines."""

    dynamodb_requests: float
    capacity_units: float
    postgres_requests: float


class Server(Child):
    """One of the two applications behind the server of production, on a free port of loopback."""

    def __init__(self, application: str, variables: Mapping[str, str], *, workers: int, log: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        self._read = 0
        super().__init__(
            application.partition(":")[0],
            [sys.executable, ROOT / "serve.py", application],
            env=bare_environment(**variables, PORT=str(port), WEB_CONCURRENCY=str(workers)),
            ready=answers(self.url + _PROBES[application]),
            log=log,
            cwd=ROOT,
        )

    def cpu_seconds(self) -> float:
        """User and system time of the workers so far, without the process that started them."""
        times = [worker.cpu_times() for worker in self._workers()]
        return float(sum(each.user + each.system for each in times))

    def rss_mib(self) -> float:
        """Resident memory of the largest worker, in MiB, as top shows it."""
        return max(worker.memory_info().rss for worker in self._workers()) / 2**20

    def skip_log(self) -> None:
        """Count the costs from here on."""
        if self.log is not None:
            self._read = self.log.stat().st_size

    def costs(self) -> Costs | None:
        """What calls have cost since `skip_log`; None of a server that does not say it."""
        if self.log is None:
            return None
        with self.log.open("rb") as file:
            file.seek(self._read)
            lines = [json.loads(line) for line in file if line.startswith(b"{") and line.endswith(b"}\n")]
        calls = [line for line in lines if line["event"] == "request"]
        if not calls:
            return None

        def mean(field: str) -> float:
            return float(sum(call[field] for call in calls)) / len(calls)

        return Costs(mean("dynamodb_requests"), mean("dynamodb_capacity_units"), mean("postgres_requests"))

    def keep_to(self, cores: tuple[int, ...]) -> None:
        """Keep it and its workers to these cores."""
        place(self._main().pid, cores)

    def _workers(self) -> list[psutil.Process]:
        return self._main().children(recursive=True)

    def _main(self) -> psutil.Process:
        self.raise_if_dead()
        if self.pid is None:
            raise EngineError(f"{self.name} does not run")
        return psutil.Process(self.pid)
