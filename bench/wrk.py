"""HTTP load by wrk, and what it saw of the answers.

wrk is a closed loop: each client waits for its answer before it asks again, so a server that stalls gets fewer requests
(coordinated omission), which wrk's percentiles correct in part. They compare servers; they promise nothing to a user.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tools.local_stack.processes import EngineError

_SCRIPT = Path(__file__).with_name("drive.lua")
_TIMEOUT_SECONDS = 10  # well above the two seconds that no request may take, so that slow ones are seen as slow
_LAST_ANSWER_SECONDS = 3
_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a load; with a body it is a POST."""

    path: str
    token: str = ""
    body: dict[str, Any] | None = None

    def line(self) -> str:
        """As bench/drive.lua reads it."""
        body = "" if self.body is None else json.dumps(self.body)
        return "\t".join(["POST" if body else "GET", self.path, self.token, body])


@dataclass(frozen=True, slots=True)
class Load:
    """What was seen; `failed` are the requests that were not answered, or with an error."""

    requests: int
    seconds: float
    failed: int
    times: dict[str, float]


def find_wrk() -> str:
    """The program. Raises EngineError where it is not installed."""
    if program := shutil.which("wrk"):
        return program
    raise EngineError("wrk makes the load and is not installed; Debian's package is wrk")


def drive(urls: Sequence[str], requests: Path, *, clients: int, seconds: int, to_the_end: bool = False) -> Load:
    """Let the clients, shared out among the servers, ask for so long for the requests of a file, at random.

    `to_the_end` then waits for the last answers: wrk by itself drops who waits when its time is up, so that it never
    sees one who starves. Raises EngineError.
    """
    waiting = _LAST_ANSWER_SECONDS if to_the_end else 0
    options = ["--threads", str(len(urls)), "--connections", str(clients), "--duration", f"{seconds + waiting}s"]
    ports = " ".join(str(urlsplit(url).port) for url in urls)
    done = subprocess.run(
        [find_wrk(), *options, "--timeout", f"{_TIMEOUT_SECONDS}s", "--script", _SCRIPT, urls[0], "--", requests],
        env={**os.environ, "PORTS": ports, "STOP_AFTER": str(seconds) if to_the_end else ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + waiting + _GRACE_SECONDS,
    )
    if done.returncode:
        raise EngineError(f"wrk ended with status {done.returncode}\n{done.stderr or done.stdout}")
    return parse(done.stdout, unanswered=0 if to_the_end else clients, waiting=waiting)


def parse(output: str, *, unanswered: int, waiting: int = 0) -> Load:
    """The last line of wrk's output, as bench/drive.lua writes it; so many requests may be without an answer."""
    seen = json.loads(output.splitlines()[-1])
    # wrk silently reopens a connection that the server closes. What was asked on it shows only here. One more
    # request is made and not sent: wrk looks at the script by it.
    dropped = max(0, seen["sent"] - seen["completed"] - unanswered - 1)
    errors = sum(seen[kind] for kind in ("connect", "read", "write", "status", "timeout"))
    times = {f"{name}_ms": seen[f"{name}_us"] / 1000 for name in ("p50", "p95", "p99", "max")}
    return Load(seen["completed"], seen["seconds"] - waiting, errors + dropped, times)
