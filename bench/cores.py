"""Which processes run on which cores: what is measured gets one half, its neighbours the other.

So the throughput is bounded by what is measured, and not by the engine, Postgres or wrk, which take their time
from other cores. Linux alone can do it; elsewhere, and on a single core, everything shares everything.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Cores:
    """The machine's cores, and how they are divided; `measured` and `neighbours` are the same where they cannot be."""

    measured: tuple[int, ...]
    neighbours: tuple[int, ...]

    @classmethod
    def divided(cls) -> Self:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        half = len(cores) // 2
        return cls(tuple(cores[:half] or cores), tuple(cores[half:]))

    @property
    def every(self) -> tuple[int, ...]:
        return tuple(sorted({*self.measured, *self.neighbours}))

    @property
    def note(self) -> str:
        """How they are divided, for people."""
        if self.measured == self.neighbours:
            return "Cores: not divided; whatever is measured shares them with engine, Postgres and wrk."
        return (
            f"Cores: {_listed(self.measured)} for what is measured, {_listed(self.neighbours)} for engine, Postgres "
            "and wrk; at 64 clients all of them for all."
        )


def place(pid: int, cores: tuple[int, ...]) -> None:
    """Keep a process, its children and all their threads to these cores; what they start later inherits it."""
    if not hasattr(os, "sched_setaffinity") or not cores:
        return
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # gone meanwhile
            for thread in each.threads():
                os.sched_setaffinity(thread.id, cores)


def _listed(cores: tuple[int, ...]) -> str:
    return ", ".join(str(core) for core in cores)
