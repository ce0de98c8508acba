"""dynoxide: a DynamoDB in one small program (Rust on SQLite), for measuring, where the engine must not be what is slow.

It keeps all data in memory. It gets slower with every write while a table has a stream: who loads much switches the
stream off (UpdateTable). Its shard ids are shorter than botocore's validation takes.
"""

from __future__ import annotations

import platform
from pathlib import Path

from tools.local_stack import npm
from tools.local_stack.processes import LOOPBACK, Child, EngineError, answers, bare_environment, free_port

_NAME = "dynoxide"
_PACKAGE = "@dynoxide/linux-x64"


class Dynoxide(Child):
    """The server on a free port; `engines` is the folder in which `install` put it."""

    def __init__(self, engines: Path, *, log: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        super().__init__(
            _NAME,
            [install(engines), "serve", "--host", LOOPBACK, "--port", str(port)],
            env=bare_environment(),
            ready=answers(self.url),
            log=log,
        )


def install(engines: Path) -> Path:
    """The program below `engines`, fetched with npm the first time. Raises EngineError when that fails."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise EngineError(f"dynoxide is pinned for Linux on x86_64 alone, and this is {system} on {machine}")
    return npm.install(engines, f"{_PACKAGE}@1.2.1", f"{_PACKAGE}/dynoxide", engine=_NAME)
