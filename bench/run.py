"""A whole run, from the load of the table to the verdicts; what it finds out is in a Results."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.cold import measure_cold
from bench.cores import place
from bench.dataset import FULL, QUICK, Dataset, Sizes
from bench.engines import Engine
from bench.measure import Scenario, measure
from bench.results import Measured, Results
from bench.scenarios import COLD, NAMES, PINNED, SPREAD, Cast
from bench.servers import SERVER
from bench.stage import Stage, set_up
from lib.console import talk

_SPREAD_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured, and which scenarios."""

    sizes: Sizes
    rounds: int
    seconds: int
    cold_runs: int
    only: Collection[str] = NAMES


FULL_PLAN = Plan(FULL, rounds=5, seconds=3, cold_runs=5)
QUICK_PLAN = Plan(QUICK, rounds=3, seconds=1, cold_runs=3)

Say = Callable[[str], object]


def run(plan: Plan, engine: Engine, database_url: str, passed_on: Mapping[str, str], folder: Path, say: Say) -> Results:
    """Everything of the plan on this engine and this empty database. Files go below `folder`. Raises EngineError."""
    with ExitStack() as running:
        stage = set_up(engine, database_url, Dataset(plan.sizes), passed_on, folder, running)
        chosen = ", ".join(f"{name}={value}" for name, value in passed_on.items())
        rounds = f"Each figure is the median of {plan.rounds} rounds of {plan.seconds} s that take turns."
        results = Results([*engine.notes, stage.cores.note, SERVER, *([f"Set: {chosen}."] if chosen else []), rounds])
        say(results.notes[0])
        _load(stage, say)
        # Engine, Postgres, the keys, and wrk, which is started from here, leave the measured cores.
        running.callback(place, os.getpid(), stage.cores.every)
        place(os.getpid(), stage.cores.neighbours)
        _measure(plan, stage, results, PINNED, say, workers=1, own_cores=True)
        place(os.getpid(), stage.cores.every)
        _measure(plan, stage, results, SPREAD, say, workers=_SPREAD_WORKERS, own_cores=False)
        results.note_memory()
        if COLD in plan.only:
            say("Cold starts …")
            results.figures |= measure_cold(stage, runs=plan.cold_runs, say=say)
        return results


def _load(stage: Stage, say: Say) -> None:
    total = stage.data.messages
    say(f"Loading {total:,} messages …")
    with _progress() as progress:
        task = progress.add_task("Loading", total=total)

        def each(done: int) -> None:
            before = progress.tasks[task].completed
            progress.update(task, completed=done)
            if progress.disable and done * 10 // total > before * 10 // total:
                say(f"{done:,}")

        speed = stage.load(each)
    say(f"Loaded at {speed:,.0f} messages a second")


def _measure(
    plan: Plan,
    stage: Stage,
    results: Results,
    scenarios: Mapping[str, Callable[[Cast], Scenario]],
    say: Say,
    *,
    workers: int,
    own_cores: bool,
) -> None:
    chosen = {name: scenarios[name] for name in scenarios if name in plan.only}
    if not chosen:
        return
    with stage.cast(workers=workers, own_cores=own_cores) as cast:
        for name, scenario_of in chosen.items():
            scenario = scenario_of(cast)
            say(f"{scenario.title} …")
            results.scenarios[name] = _measured(plan, scenario)


def _measured(plan: Plan, scenario: Scenario) -> Measured:
    with _progress() as progress:
        task = progress.add_task("Measuring", total=plan.rounds * len(scenario.subjects))
        samples = measure(scenario, rounds=plan.rounds, seconds=plan.seconds, each=lambda: progress.advance(task))
    return Measured(scenario.title, scenario.labels, samples)


def _progress() -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal)
