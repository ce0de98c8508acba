"""A whole run, from the load of the table to its figures.

Subjects take turns, for several short rounds, so that a machine that drifts drifts for all of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.dataset import FULL, QUICK, Dataset, Sizes
from bench.environment import API, Environment, Server, halved, place, set_up
from bench.results import MEMORY, Measured, Results, Sample
from bench.scenarios import NAMES, SCENARIOS, STARTUP, Scenario, Subject
from bench.startup import measure_startup
from bench.wrk import drive
from lib.config import ROOT
from tools.local_stack.processes import EngineError, bare_environment

Say = Callable[[str], object]

_COSTS = ("dynamodb_requests", "dynamodb_read_units", "dynamodb_write_units", "postgres_requests")
_SETTLE_SECONDS = 0.1  # what was asked last is answered and logged
_WARM_UPS = 60


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured, and which scenarios."""

    sizes: Sizes
    rounds: int
    seconds: int
    startups: int
    only: Collection[str] = NAMES


FULL_PLAN = Plan(FULL, rounds=5, seconds=3, startups=5)
QUICK_PLAN = Plan(QUICK, rounds=3, seconds=1, startups=3)


def run(
    plan: Plan, endpoint_url: str, database_url: str, passed_on: Mapping[str, str], folder: Path, say: Say
) -> Results:
    """Everything of the plan on this engine and this empty database. Files go below `folder`. Raises EngineError."""
    results = Results([f"Each figure is the median of {plan.rounds} rounds of {plan.seconds} s that take turns."])
    results.notes += [f"Set: {name}={value}" for name, value in passed_on.items()]
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as running:
        environment = set_up(endpoint_url, database_url, Dataset(plan.sizes), passed_on, folder, running)
        say(f"Loading {environment.data.count:,} messages …")
        environment.load_table()
        running.callback(place, os.getpid(), cores)
        chosen = [name for name in SCENARIOS if name in plan.only]
        for setup, names in groupby(chosen, key=lambda name: SCENARIOS[name].setup):
            count, workers, own_cores = setup
            measured, others = halved(cores) if own_cores else (cores, cores)
            place(os.getpid(), others)  # with the engine, Postgres, the keys, and wrk, which is started from here
            with environment.servers(count, workers, measured) as servers:
                for name in names:
                    say(f"{SCENARIOS[name].title} …")
                    results.scenarios[name] = _measured(plan, SCENARIOS[name], environment, servers, measured)
        if chosen:
            results.figures[MEMORY] = max(each.worst("rss_mib") for each in results.scenarios.values())
    if STARTUP in plan.only:
        say("Startup times …")
        results.figures |= measure_startup(folder, runs=plan.startups, say=say)
    return results


def _measured(
    plan: Plan, scenario: Scenario, environment: Environment, servers: Mapping[str, list[Server]], cores: list[int]
) -> Measured:
    subjects = scenario.subjects(environment, servers[API][0].url)
    rounds: dict[str, Callable[[int], Sample]] = {}
    for key, subject in subjects.items():
        if subject.partition:
            rounds[key] = partial(_loop_round, subject, environment, cores)
        else:
            file = environment.folder / f"{key}.requests"
            rounds[key] = Served(subject, servers[subject.application], file, scenario.clients).round
    samples: dict[str, list[Sample]] = {key: [] for key in subjects}
    for _ in range(plan.rounds):
        for key, measure in rounds.items():
            samples[key].append(measure(plan.seconds))
    return Measured(scenario.title, {key: subject.label for key, subject in subjects.items()}, samples)


class Served:
    """Servers under the load of a subject's requests, which are sent before the first round.

    Raises EngineError when one of those is not answered as it should be.
    """

    def __init__(self, subject: Subject, servers: list[Server], file: Path, clients: int) -> None:
        file.write_text("".join(f"{request.line()}\n" for request in subject.requests))
        urls = [server.url for server in servers]
        self._servers, self._lead_in = servers, subject.lead_in
        self._load = partial(drive, urls, file, clients=clients, to_the_end=subject.to_the_end)
        asked = 0
        for _ in range(_WARM_UPS):
            load = self._load(seconds=1)
            asked += load.requests
            if load.failed:
                raise EngineError(f"{subject.label}: {load.failed} of {load.requests} requests failed")
            if asked >= len(subject.requests):
                return
        raise EngineError(f"{subject.label}: {asked} requests in {_WARM_UPS} s are too few")

    def round(self, seconds: int) -> Sample:
        if self._lead_in:
            self._load(seconds=1)
        self._logged()  # what was before this round
        before = self._cpu_seconds()
        load = self._load(seconds=seconds)
        time.sleep(_SETTLE_SECONDS)
        cpu = self._cpu_seconds() - before
        logged = self._logged()
        return Sample(
            requests_per_second=load.requests / load.seconds,
            cpu_us=cpu / max(load.requests, 1) * 1e6,
            busy=cpu / load.seconds,
            **load.times,
            failed=load.failed,
            rss_mib=max(server.rss_mib() for server in self._servers),
            **({name: statistics.fmean(line[name] for line in logged) for name in _COSTS} if logged else {}),
        )

    def _cpu_seconds(self) -> float:
        return sum(server.cpu_seconds() for server in self._servers)

    def _logged(self) -> list[dict[str, Any]]:
        return [line for server in self._servers for line in server.logged_requests()]


def _loop_round(subject: Subject, environment: Environment, cores: list[int], seconds: int) -> Sample:
    command = [sys.executable, "-m", "bench.boto3_baseline", subject.partition, str(seconds), *map(str, cores)]
    done = subprocess.run(
        command, cwd=ROOT, env=bare_environment(**environment.variables), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EngineError(f"the bare loop ended with status {done.returncode}\n{done.stderr}")
    return Sample(**json.loads(done.stdout))
