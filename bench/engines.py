"""What speaks DynamoDB during a measurement: the fastest engine that this machine can start, and why it is that one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lib.local.dynamodb_local import DynamoDBLocal
from lib.local.dynoxide import Dynoxide
from lib.local.ministack import Ministack
from lib.local.processes import EngineError

DYNOXIDE, DYNAMODB_LOCAL, MINISTACK = ENGINES = ("dynoxide", "dynamodb-local", "ministack")
"""The fastest first: the engine must not be what is slow."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine; `why` says how it came to be chosen."""

    name: str
    url: str
    why: str

    @property
    def streams(self) -> bool:
        """Whether the table keeps its stream."""
        return self.name != DYNOXIDE

    @property
    def notes(self) -> list[str]:
        """What to know about it beside the figures."""
        about = {
            DYNOXIDE: ["The table's stream is off: dynoxide gets slower with every record that a stream keeps."],
            DYNAMODB_LOCAL: ["It cannot be told an address: while it runs, it listens on all of this machine's."],
        }
        return [f"Engine: {self.name}, {self.why}.", *about.get(self.name, [])]


def start_engine(wanted: str | None, folder: Path, *, downloads: Path, running: ExitStack) -> Engine:
    """The engine that is wanted, else the fastest that starts; `running` stops it. Raises EngineError."""
    if wanted:
        return _start(wanted, "as asked for", folder, downloads, running)
    refusals: list[str] = []
    for name in ENGINES:
        why = "; ".join(["the fastest that starts here", *refusals])
        try:
            return _start(name, why, folder, downloads, running)
        except EngineError as error:
            refusals.append(f"no {name} ({str(error).partition(chr(10))[0]})")
    raise EngineError("; ".join(refusals))


def _start(name: str, why: str, folder: Path, downloads: Path, running: ExitStack) -> Engine:
    log = folder / f"{name}.log"
    child: Dynoxide | DynamoDBLocal | Ministack
    if name == DYNOXIDE:
        child = Dynoxide(downloads, log=log)
    elif name == DYNAMODB_LOCAL:
        child = DynamoDBLocal(downloads, log=log)
    elif name == MINISTACK:
        child = Ministack(folder / name, log=log, persistent=False)
    else:
        raise ValueError(name)
    running.enter_context(child)
    return Engine(name, child.url, why)
