"""The measurement of a flood: what other users notice while one user sends more than their limit allows.

The clients of the flood, the calm users and the server are different processes, which share all cores. The calm users
send requests at fixed times, so a request that waits counts its whole wait.
"""

from __future__ import annotations

import time
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path
from statistics import quantiles
from threading import Thread

from bench.results import Rounds, Sample
from bench.scenarios import ALONE, BESIDE_FLOOD, FLOODER, Request, Scale, calm_requests, flood_requests
from bench.server import Server
from tools.local_stack.processes import LOOPBACK, EngineError

_WORKERS, _CLIENTS = 2, 64
_PER_SECOND = 50  # requests of the calm users
_FIRST_SECONDS = 2  # until the flood has used up its limit


def measure(scale: Scale, variables: dict[str, str], folder: Path) -> Rounds:
    """Measure rounds. Raises EngineError if a request of a calm user fails."""
    own = {"RATE_LIMIT_SENDS": "60 per minute; 20 per 10 seconds", "WEB_CONCURRENCY": str(_WORKERS)}
    with Server("app:create_app", variables | own, folder) as server:
        _run_calm_users(server.port, scale, count=4 * _PER_SECOND)  # fills the caches
        return [_measure_round(server, scale) for _ in range(scale.rounds)]


def _measure_round(server: Server, scale: Scale) -> dict[str, Sample]:
    samples = {ALONE: _run_calm_users(server.port, scale, count=scale.calm)}
    seconds = _FIRST_SECONDS + scale.calm // _PER_SECOND

    def flood() -> None:
        samples[FLOODER] = server.measure(flood_requests(), seconds, clients=_CLIENTS)

    thread = Thread(target=flood)
    thread.start()
    time.sleep(_FIRST_SECONDS)
    samples[BESIDE_FLOOD] = _run_calm_users(server.port, scale, count=scale.calm)
    thread.join()
    return samples


def _run_calm_users(port: int, scale: Scale, *, count: int) -> Sample:
    """Send so many requests of the calm users over several connections by turns."""
    connections = [HTTPConnection(LOOPBACK, port, timeout=10) for _ in range(2 * _WORKERS)]
    milliseconds, begin = [], time.monotonic()
    for number, (request, connection) in enumerate(zip(islice(cycle(calm_requests(scale)), count), cycle(connections))):
        due_at = begin + number / _PER_SECOND
        time.sleep(max(0.0, due_at - time.monotonic()))
        _exchange(connection, request)
        milliseconds.append((time.monotonic() - due_at) * 1000)
    for connection in connections:
        connection.close()
    percentiles = quantiles(milliseconds, n=100)
    return {"p50_ms": percentiles[49], "p99_ms": percentiles[98], "max_ms": max(milliseconds)}


def _exchange(connection: HTTPConnection, request: Request) -> None:
    headers = {"Authorization": f"Bearer {request.token}", "Content-Type": "application/json"}
    connection.request("POST" if request.body else "GET", request.path, request.body or None, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise EngineError(f"a request of a calm user was refused: {content.decode()}")
