"""Measuring: what is compared takes turns, for several short rounds, so that a machine that drifts drifts for all.

Knows no scenario: what is asked of whom, its callers say.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.load import Load, Request, drive, write_requests
from bench.servers import Server
from lib.config import ROOT
from lib.local.processes import EngineError, bare_environment

_SETTLE_SECONDS = 0.1  # what was asked last is answered and logged
_WARM_UPS = 60
_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one subject. What a server does not tell, or has not, is None.

    `busy` is the part of one core that the workers used: below one they waited for their neighbours.
    """

    requests_per_second: float
    cpu_us: float
    busy: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    failed: int = 0
    rss_mib: float | None = None
    dynamodb_requests: float | None = None
    capacity_units: float | None = None
    postgres_requests: float | None = None


class Subject(Protocol):
    """What can be measured."""

    def warm_up(self) -> None:
        """Ask for everything once, unmeasured."""

    def measure(self, seconds: int) -> Sample:
        """One round."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Subjects that are compared; each has a key, by which targets find it, and a label for people."""

    name: str
    title: str
    subjects: Mapping[str, Subject]
    labels: Mapping[str, str]


class Served:
    """A server under the load of some requests."""

    def __init__(
        self,
        server: Server,
        requests: Sequence[Request],
        *,
        clients: int,
        file: Path,
        drive: Callable[..., Load] = drive,
    ) -> None:
        self._server = server
        self._drive = drive
        self._count = len(requests)
        self._file = write_requests(file, requests)
        self._clients = clients

    def warm_up(self) -> None:
        """Raises EngineError when the requests are not answered as they should be: nothing of it would count."""
        asked = 0
        for _ in range(_WARM_UPS):
            load = self._drive(self._server.url, self._file, clients=self._clients, seconds=1)
            if load.failed:
                raise EngineError(f"{self._server.name}: {load.failed} of {load.requests} requests failed")
            asked += load.requests
            if asked >= self._count:
                return
        raise EngineError(f"{self._server.name}: {asked} of {self._count} requests in {_WARM_UPS} s are too few")

    def measure(self, seconds: int) -> Sample:
        self._server.skip_log()
        before = self._server.cpu_seconds()
        load = self._drive(self._server.url, self._file, clients=self._clients, seconds=seconds)
        time.sleep(_SETTLE_SECONDS)
        cpu = self._server.cpu_seconds() - before
        costs = self._server.costs()
        return Sample(
            requests_per_second=load.requests / load.seconds,
            cpu_us=cpu / max(load.requests, 1) * 1e6,
            busy=cpu / load.seconds,
            p50_ms=load.p50_ms,
            p95_ms=load.p95_ms,
            p99_ms=load.p99_ms,
            max_ms=load.max_ms,
            failed=load.failed,
            rss_mib=self._server.rss_mib(),
            dynamodb_requests=costs.dynamodb_requests if costs else None,
            capacity_units=costs.capacity_units if costs else None,
            postgres_requests=costs.postgres_requests if costs else None,
        )


class BareLoop:
    """The same calls without a server: bench/loop.py, a process of its own on the measured cores."""

    def __init__(self, variables: Mapping[str, str], operation: str, uuid: str, *, cores: Sequence[int]) -> None:
        self._environment = bare_environment(**variables)
        self._command = [sys.executable, "-m", "bench.loop", operation, uuid, ",".join(map(str, cores))]

    def warm_up(self) -> None:
        self._run(0)

    def measure(self, seconds: int) -> Sample:
        return Sample(**json.loads(self._run(seconds)))

    def _run(self, seconds: int) -> str:
        done = subprocess.run(
            [*self._command, str(seconds)],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + _GRACE_SECONDS,
        )
        if done.returncode:
            raise EngineError(f"the bare loop ended with status {done.returncode}\n{done.stderr}")
        return done.stdout


def measure(
    scenario: Scenario, *, rounds: int, seconds: int, each: Callable[[], object] = lambda: None
) -> dict[str, list[Sample]]:
    """Every subject's samples, round by round; `each` is told after every one."""
    for subject in scenario.subjects.values():
        subject.warm_up()
    samples: dict[str, list[Sample]] = {key: [] for key in scenario.subjects}
    for _ in range(rounds):
        for key, subject in scenario.subjects.items():
            samples[key].append(subject.measure(seconds))
            each()
    return samples
