"""Startup times: imports in fresh processes, and the first and the second start of ./bin/dev."""

from __future__ import annotations

import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from lib.config import ROOT
from tools.deploy.packages import PackageError, build
from tools.local_stack.processes import Child, EngineError, bare_environment, free_port

APP_IMPORT, FUNCTION_IMPORT = "import of the app, s", "cold import of the stream function, s"
DEV_FIRST, DEV_SECOND = "first ./bin/dev until ready, s", "second ./bin/dev until ready, s"

_IMPORT = "import sys, time; began = time.perf_counter(); import {}; sys.stdout.write(str(time.perf_counter() - began))"


def measure_startup(folder: Path, *, runs: int, say: Callable[[str], object]) -> dict[str, float]:
    """Seconds by name, medians of so many runs; the function's import and ./bin/dev are left out where they fail."""
    figures = {APP_IMPORT: median(_imported("app", ROOT) for _ in range(runs))}
    try:
        # From the package as it is deployed, and from nothing else (-S).
        with zipfile.ZipFile(build("message_stream", folder).path) as package:
            package.extractall(folder / "function")
        figures[FUNCTION_IMPORT] = median(_imported("handler", folder / "function", "-S") for _ in range(runs))
        figures[DEV_FIRST] = _dev_start(folder)
        figures[DEV_SECOND] = median(_dev_start(folder) for _ in range(runs))
    except (PackageError, EngineError) as error:
        say(f"Not measured: {error}")
    return figures


def _imported(module: str, folder: Path, *options: str) -> float:
    """Seconds of an import in a fresh process, without the interpreter's own start."""
    command = [sys.executable, *options, "-c", _IMPORT.format(module)]
    environment = bare_environment(PYTHONPATH=str(folder))
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _dev_start(folder: Path) -> float:
    """Seconds until stack.json is there, which is the last thing that ./bin/dev does."""
    local = folder / "dev"
    environment = bare_environment(LOCAL_DIR=str(local), PORT=str(free_port()), CRUDDUR_PYTHON=sys.executable)
    ready, log = (local / "stack.json").exists, folder / "dev.log"
    began = time.perf_counter()
    with Child("./bin/dev", [ROOT / "bin/dev"], env=environment, ready=ready, log=log, stop_seconds=30):
        return time.perf_counter() - began
