"""bin/ddb/stream-worker as a process of its own."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from lib.config import ROOT
from tools.local_stack.processes import Child, bare_environment


def stream_worker(folder: Path, variables: dict[str, str]) -> Child:
    """The worker with these settings. Its files go below `folder`. It ends by SIGKILL, as in an accident."""
    return Child(
        "the stream worker",
        [sys.executable, "-Pm", "tools.cli", ROOT / "bin/ddb/stream-worker"],
        env=bare_environment(**variables, LOCAL_DIR=str(folder), PYTHONPATH=str(ROOT)),
        ready=lambda: True,
        log=folder / "stream-worker.log",
        cwd=ROOT,
        stop_signal=signal.SIGKILL,
    )
