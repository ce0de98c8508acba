"""HTTP load, and what was seen of the answers: by wrk, or by clients of our own that wait for the last one."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lib.local.processes import EngineError

_SCRIPT = Path(__file__).with_name("drive.lua")
_TIMEOUT_SECONDS = 10  # well above the two seconds that no request may take, so that slow ones are seen as slow
_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a load; with a body it is a POST."""

    path: str
    token: str = ""
    body: dict[str, Any] | None = None

    def line(self) -> str:
        """As bench/drive.lua and `drive_to_the_end` read it."""
        body = "" if self.body is None else json.dumps(self.body)
        return "\t".join(["POST" if body else "GET", self.path, self.token, body])


@dataclass(frozen=True, slots=True)
class Load:
    """What was seen; `failed` are the requests that were not answered, or with an error.

    wrk is a closed loop: each client waits for its answer before it asks again, so a server that stalls is asked
    less, and the requests that would have come meanwhile are never made (coordinated omission). wrk adds the
    waits of those to its percentiles, one for every mean interval; real users, who do not wait for each other, would
    still see more of a stall than that. Percentiles here compare servers; they promise nothing to a user.
    """

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    failed: int


def find_wrk() -> str:
    """The program. Raises EngineError where it is not installed."""
    if program := shutil.which("wrk"):
        return program
    raise EngineError("wrk makes the load and is not installed; Debian's package is wrk")


def write_requests(path: Path, requests: Sequence[Request]) -> Path:
    """A file for `drive`."""
    path.write_text("".join(f"{request.line()}\n" for request in requests))
    return path


def drive(url: str, requests: Path, *, clients: int, seconds: int) -> Load:
    """Let so many clients ask for so long, in turn all of a file's requests. Raises EngineError."""
    options = ["--threads", "1", "--connections", str(clients), "--duration", f"{seconds}s"]
    done = subprocess.run(
        [find_wrk(), *options, "--timeout", f"{_TIMEOUT_SECONDS}s", "--script", _SCRIPT, url, "--", requests],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + _GRACE_SECONDS,
    )
    if done.returncode:
        raise EngineError(f"wrk ended with status {done.returncode}\n{done.stderr or done.stdout}")
    return parse(done.stdout, clients=clients)


def drive_to_the_end(url: str, requests: Path, *, clients: int, seconds: int) -> Load:
    """The same, but every request that was begun is waited for, and nothing is corrected.

    wrk leaves those behind that wait when its time is up, so one that starves is never seen. Clients in Python take
    more of the machine than wrk does: they are for servers that do much for a request.
    """
    lines = [line.split("\t") for line in requests.read_text().splitlines()]
    began = time.perf_counter()

    def ask(first: int) -> list[tuple[float, bool]]:
        """What one client sees of each request: the milliseconds, and whether it was answered without an error."""
        seen = []
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_SECONDS)) as connection:
            for line in islice(cycle(lines), first, None):
                if (asked := time.perf_counter()) > began + seconds:
                    break
                good = _is_answered(connection, *line)
                seen.append(((time.perf_counter() - asked) * 1000, good))
        return seen

    with ThreadPoolExecutor(clients) as threads:
        seen = list(chain.from_iterable(threads.map(ask, range(clients))))
    took = time.perf_counter() - began
    times = sorted(milliseconds for milliseconds, _ in seen)
    p50, p95, p99 = (times[len(times) * percent // 100] for percent in (50, 95, 99))
    return Load(len(seen), took, p50, p95, p99, times[-1], failed=sum(not good for _, good in seen))


def _is_answered(connection: HTTPConnection, method: str, path: str, token: str, body: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"} | ({"Content-Type": "application/json"} if body else {})
    try:
        connection.request(method, path, body.encode() or None, headers)
        with connection.getresponse() as response:
            response.read()
    except (OSError, HTTPException):
        connection.close()  # the next request opens it again
        return False
    return response.status < 400


def parse(output: str, *, clients: int) -> Load:
    """The last line of wrk's output, as bench/drive.lua writes it."""
    seen = json.loads(output.splitlines()[-1])
    # A connection that the server closes is opened again without a word. What was asked on it shows only here: all
    # but the last request of each client, and one that wrk made to look at the script, must have been answered.
    dropped = max(0, seen["sent"] - seen["completed"] - clients - 1)
    errors = sum(seen[kind] for kind in ("connect", "read", "write", "status", "timeout"))
    times = {f"{name}_ms": seen[f"{name}_us"] / 1000 for name in ("p50", "p95", "p99", "max")}
    return Load(seen["completed"], seen["seconds"], **times, failed=errors + dropped)
