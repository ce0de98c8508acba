"""Cold starts: imports in fresh processes, a fresh server's first answers, and the second start of ./bin/dev."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from bench.load import Request
from bench.servers import API
from bench.stage import Stage
from lib.aws.packages import PackageError, build
from lib.config import ROOT
from lib.local.processes import Child, EngineError, bare_environment, free_port

APP_IMPORT, FUNCTION_IMPORT = "import of the app, s", "cold import of the stream function, s"
SERVER_START, FIRST_REQUEST = "start of a server until its first answer, s", "its first request for messages, s"
SECOND_REQUEST = "its second request for messages, s"
DEV_FIRST, DEV_SECOND = "first ./bin/dev until ready, s", "second ./bin/dev until ready, s"

_IMPORT = "import sys, time; began = time.perf_counter(); import {}; sys.stdout.write(str(time.perf_counter() - began))"

Figures = dict[str, float]
"""Seconds by name; what could not be measured is missing."""


def measure_cold(stage: Stage, *, runs: int, say: Callable[[str], object]) -> Figures:
    """All cold starts, medians of so many runs; the function's import and ./bin/dev are left out where they fail."""
    figures = {APP_IMPORT: _median(runs, lambda: _imported("app", ROOT))}
    starts = [_first_answers(stage) for _ in range(runs)]
    for name, times in zip((SERVER_START, FIRST_REQUEST, SECOND_REQUEST), zip(*starts, strict=True), strict=True):
        figures[name] = statistics.median(times)
    for measured in (_function_import, _dev_starts):
        try:
            figures |= measured(stage.folder, runs)
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


def _first_answers(stage: Stage) -> tuple[float, float, float]:
    """Seconds until a fresh server answers, of its first request for messages, and of the second."""
    server = stage.server(API, workers=1)
    path = f"/api/messages/{stage.data.talks['small'].group_uuid}"
    request = Request(path, stage.pool.token(stage.data.reader))
    began = time.perf_counter()
    with server:
        started = time.perf_counter() - began
        return started, _asked(server.url, request), _asked(server.url, request)


def _asked(url: str, request: Request) -> float:
    asked = urllib.request.Request(url + request.path, headers={"Authorization": f"Bearer {request.token}"})  # noqa: S310
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    began = time.perf_counter()
    with direct.open(asked, timeout=10) as response:
        response.read()
    return time.perf_counter() - began


def _function_import(folder: Path, runs: int) -> Figures:
    """From the package as it is deployed, and from nothing else (`-S`). Raises PackageError."""
    unpacked = folder / "function"
    with zipfile.ZipFile(build("message_stream", folder).path) as package:
        package.extractall(unpacked)
    return {FUNCTION_IMPORT: _median(runs, lambda: _imported("handler", unpacked, "-S"))}


def _dev_starts(folder: Path, runs: int) -> Figures:
    """Until stack.json is there, which is the last thing that ./bin/dev does. Raises EngineError."""
    local = folder / "dev"

    def start() -> float:
        environment = bare_environment(LOCAL_DIR=str(local), PORT=str(free_port()), CRUDDUR_PYTHON=sys.executable)
        ready = (local / "stack.json").exists
        log = folder / "dev.log"
        began = time.perf_counter()
        with Child("./bin/dev", [ROOT / "bin/dev"], env=environment, ready=ready, log=log, stop_seconds=30):
            return time.perf_counter() - began

    return {DEV_FIRST: start(), DEV_SECOND: _median(runs, start)}


def _median(runs: int, measured: Callable[[], float]) -> float:
    return statistics.median(measured() for _ in range(runs))
