"""Startup times: imports in fresh processes, and the first and the second start of ./bin/dev."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from lib.aws.packages import PackageError, build
from lib.config import ROOT
from lib.local.processes import Child, EngineError, bare_environment, free_port

APP_IMPORT, FUNCTION_IMPORT = "import of the app, s", "cold import of the stream function, s"
DEV_FIRST, DEV_SECOND = "first ./bin/dev until ready, s", "second ./bin/dev until ready, s"

_IMPORT = "import sys, time; began = time.perf_counter(); import {}; sys.stdout.write(str(time.perf_counter() - began))"


def measure_startup(folder: Path, *, runs: int, say: Callable[[str], object]) -> dict[str, float]:
    """Seconds by name, medians of so many runs; the function's import and ./bin/dev are left out where they fail."""
    figures = {APP_IMPORT: _median(runs, lambda: _imported("app", ROOT))}
    for measure in (_function_import, _dev_starts):
        try:
            figures |= measure(folder, runs)
        except (PackageError, EngineError) as error:
            say(f"Not measured: {error}")
    return figures


def _imported(module: str, folder: Path, *options: str) -> float:
    """Seconds of an import in a fresh process, without the interpreter's own start."""
    done = subprocess.run(
        [sys.executable, *options, "-c", _IMPORT.format(module)],
        cwd=folder,
        env=bare_environment(PYTHONPATH=str(folder)),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def _function_import(folder: Path, runs: int) -> dict[str, float]:
    """From the package as it is deployed, and from nothing else (`-S`)."""
    unpacked = folder / "function"
    with zipfile.ZipFile(build("message_stream", folder).path) as package:
        package.extractall(unpacked)
    return {FUNCTION_IMPORT: _median(runs, lambda: _imported("handler", unpacked, "-S"))}


def _dev_starts(folder: Path, runs: int) -> dict[str, float]:
    """Until stack.json is there, which is the last thing that ./bin/dev does."""
    local = folder / "dev"

    def start() -> float:
        environment = bare_environment(LOCAL_DIR=str(local), PORT=str(free_port()), CRUDDUR_PYTHON=sys.executable)
        ready = (local / "stack.json").exists
        log = folder / "dev.log"
        began = time.perf_counter()
        with Child("./bin/dev", [ROOT / "bin/dev"], env=environment, ready=ready, log=log, stop_seconds=30):
            return time.perf_counter() - began

    return {DEV_FIRST: start(), DEV_SECOND: _median(runs, start)}


def _median(runs: int, measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(runs))
