"""A whole run. Subjects take turns in several short rounds, so that a machine whose speed drifts is fair to all."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from bench.boto3_baseline import run_loop
from bench.environment import API, BASELINE, Environment, Server, halve, place, prepare
from bench.results import APP_IMPORT, DEV_SECOND, FUNCTION_IMPORT, MEMORY, Measured, Results, Sample
from bench.scenarios import BUSY, FLOOR, LOOP, NAIVE, SCENARIOS, Dataset, Request, Scale, Scenario, Site
from lib.config import ROOT
from tools.cli.console import print_status
from tools.deploy.packages import PackageError, build
from tools.local_stack.processes import Child, EngineError, bare_environment, free_port

STARTUP = "startup"
NAMES = (*SCENARIOS, STARTUP)

_COSTS = ("dynamodb_requests", "dynamodb_read_units", "dynamodb_write_units", "postgres_requests")
_SETTLE_SECONDS = 0.1  # for the last responses and their log lines
_TIMEOUT_SECONDS = 10  # well above the two seconds that a request may take, so that slow ones are measured
_LAST_RESPONSE_SECONDS = 3
_GRACE_SECONDS = 30
_IMPORT = "import sys, time; start = time.perf_counter(); import {}; sys.stdout.write(str(time.perf_counter() - start))"


def run(scale: Scale, only: Collection[str], folder: Path, engines: Path) -> Results:
    """Measure scenarios. Files go below `folder`, a downloaded engine below `engines`. Raises EngineError."""
    results = Results()
    names = [name for name in SCENARIOS if name in only]
    if names:
        with prepare(Dataset(scale), folder, engines) as environment:
            for name in names:
                print_status(f"{SCENARIOS[name].title} …")
                results.scenarios[name] = _measure(SCENARIOS[name], environment)
        results.figures[MEMORY] = max(measured.worst("rss_mib") for measured in results.scenarios.values())
    if STARTUP in only:
        print_status("Startup times …")
        results.figures |= _measure_startup(folder, runs=scale.rounds)
    return results


def _measure(scenario: Scenario, environment: Environment) -> Measured:
    scale, data = environment.data.scale, environment.data
    cores = sorted(os.sched_getaffinity(0))
    server_cores, other_cores = halve(cores) if scenario.own_cores else (cores, cores)
    place(os.getpid(), other_cores)  # with its children: the engine, Postgres, the keys, and wrk later
    turns: dict[str, Callable[[int], Sample]] = {}
    samples: dict[str, list[Sample]] = {}
    with environment.servers(scenario.servers, scenario.workers, server_cores) as servers:
        load = partial(Load, clients=scenario.clients, folder=environment.folder)
        turns[NAIVE] = load(servers[BASELINE], [Request(scenario.naive_path(data))]).measure
        turns[FLOOR] = load(servers[BASELINE], [Request("/floor")]).measure
        site = Site(data, environment.token, servers[API][0].url)
        for subject, requests in scenario.subjects(site).items():
            turns[subject] = load(servers[API], requests, to_the_end=subject == BUSY).measure
        if scenario.loop:
            table, endpoint_url = environment.variables["DDB_TABLE"], environment.variables["AWS_ENDPOINT_URL_DYNAMODB"]
            turns[LOOP] = partial(run_loop, endpoint_url, table, scenario.partition(data), server_cores)
        for _ in range(scale.rounds):
            for subject, measure in turns.items():
                samples.setdefault(subject, []).append(measure(scale.seconds))
    place(os.getpid(), cores)
    return Measured(samples)


class Load:
    """Requests to servers, sent by wrk in random order. All of them are sent before the first measurement.

    wrk is a closed loop: a client waits for its response before its next request, so a server that stalls gets fewer
    requests (coordinated omission). Its percentiles compare servers; they promise nothing to a user. At the end of a
    round wrk drops the requests that wait for a response; `to_the_end` waits for them, to see one that starves.
    """

    def __init__(
        self, servers: list[Server], requests: list[Request], *, clients: int, folder: Path, to_the_end: bool = False
    ) -> None:
        """Raises EngineError when a request fails."""
        self._servers, self._clients, self._to_the_end = servers, clients, to_the_end
        self._file = folder / f"{id(self)}.requests"
        self._file.write_text("".join(f"{request.line()}\n" for request in requests))
        answered = 0.0
        while answered < len(requests):
            seen = self._drive(1)
            if seen["failed"] or not seen["requests"]:
                raise EngineError(f"{requests[0].path}: {seen['failed']} of {seen['requests']} requests failed")
            answered += seen["requests"]

    def measure(self, seconds: int) -> Sample:
        """One round, after a second of the same load: its last writes are recent, as in the middle of a long load."""
        self._drive(1)
        self._logged_requests()
        cpu_before = self._cpu_seconds()
        seen = self._drive(seconds)
        time.sleep(_SETTLE_SECONDS)
        cpu = self._cpu_seconds() - cpu_before
        logged = self._logged_requests()
        requests, elapsed = seen.pop("requests"), seen.pop("seconds")
        return {
            "requests_per_second": requests / elapsed,
            "cpu_us": cpu / max(requests, 1) * 1e6,
            "busy": cpu / elapsed,
            **seen,
            "rss_mib": max(server.rss_mib() for server in self._servers),
            **({name: statistics.fmean(entry[name] for entry in logged) for name in _COSTS} if logged else {}),
        }

    def _drive(self, seconds: int) -> dict[str, float]:
        waiting = _LAST_RESPONSE_SECONDS if self._to_the_end else 0
        ports = [str(urlsplit(server.url).port) for server in self._servers]
        command: list[str | Path] = [
            *("wrk", "--threads", str(len(ports)), "--connections", str(self._clients)),
            *("--duration", f"{seconds + waiting}s", "--timeout", f"{_TIMEOUT_SECONDS}s"),
            *("--script", ROOT / "bench/drive.lua", self._servers[0].url, "--", self._file),
        ]
        variables = bare_environment(PORTS=" ".join(ports), STOP_AFTER=str(seconds) if waiting else "")
        output = _output_of(command, variables, timeout=seconds + waiting + _GRACE_SECONDS)
        return parse(output, unanswered=0 if waiting else self._clients, waiting=waiting)

    def _cpu_seconds(self) -> float:
        return sum(server.cpu_seconds() for server in self._servers)

    def _logged_requests(self) -> list[dict[str, Any]]:
        return [entry for server in self._servers for entry in server.logged_requests()]


def parse(output: str, *, unanswered: int, waiting: int = 0) -> dict[str, float]:
    """`requests`, `seconds`, `failed`, and `p50_ms` to `max_ms`, from the last line of wrk's output.

    `unanswered` requests may lack a response. Others that lack one are failed, as those with an error are. `waiting`
    seconds are not counted.
    """
    seen = json.loads(output.splitlines()[-1])
    # wrk silently reopens a connection that the server closes: only these counts show the request that was lost on it.
    # wrk makes one more request and does not send it, to look at the script.
    dropped = max(0, seen["sent"] - seen["completed"] - unanswered - 1)
    errors = sum(seen[kind] for kind in ("connect", "read", "write", "status", "timeout"))
    times = {f"{name}_ms": seen[f"{name}_us"] / 1000 for name in ("p50", "p95", "p99", "max")}
    return {"requests": seen["completed"], "seconds": seen["seconds"] - waiting, "failed": errors + dropped, **times}


def _measure_startup(folder: Path, *, runs: int) -> dict[str, float]:
    """Seconds by name. Figures that cannot be measured are missing."""
    figures = {APP_IMPORT: median(_import_seconds("app", ROOT) for _ in range(runs))}
    try:
        # From the package that is deployed, without this environment's packages (-S).
        with zipfile.ZipFile(build("message_stream", folder).path) as package:
            package.extractall(folder / "function")
        figures[FUNCTION_IMPORT] = median(_import_seconds("handler", folder / "function", "-S") for _ in range(runs))
        _dev_seconds(folder)  # the first start makes the data
        figures[DEV_SECOND] = median(_dev_seconds(folder) for _ in range(runs))
    except (PackageError, EngineError) as error:
        print_status(f"Not measured: {error}")
    return figures


def _import_seconds(module: str, folder: Path, *options: str) -> float:
    """Seconds of an import in a fresh process, without the interpreter's own start."""
    command = [sys.executable, *options, "-c", _IMPORT.format(module)]
    return float(_output_of(command, bare_environment(PYTHONPATH=str(folder))))


def _dev_seconds(folder: Path) -> float:
    """Seconds until ./bin/dev writes stack.json, its last step."""
    local = folder / "dev"
    variables = bare_environment(LOCAL_DIR=str(local), PORT=str(free_port()), CRUDDUR_PYTHON=sys.executable)
    ready, log = (local / "stack.json").exists, folder / "dev.log"
    start = time.perf_counter()
    with Child("./bin/dev", [ROOT / "bin/dev"], env=variables, ready=ready, log=log, stop_seconds=30):
        return time.perf_counter() - start


def _output_of(command: Sequence[str | Path], variables: dict[str, str], timeout: float | None = None) -> str:
    process = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=timeout
    )
    if process.returncode:
        raise EngineError(f"{command[0]} ended with status {process.returncode}\n{process.stderr or process.stdout}")
    return process.stdout
