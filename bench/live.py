"""The measurement of live updates: streams of many clients, messages to them, and messages to others beside them.

The clients of the streams, the sender and the server are different processes, which share all cores.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path
from statistics import quantiles
from threading import Event, Thread

import psutil

from bench.constant_stream import ConstantStream
from bench.results import Rounds, Sample
from bench.scenarios import (
    BESIDE,
    CONSTANT,
    HOUR,
    IDLE,
    MANY,
    NONE,
    OTHERS,
    STREAMS,
    Request,
    Scale,
    listeners,
    live_sends,
    other_sends,
)
from bench.server import Server
from bench.stream_clients import StreamClients
from tools.local_stack.processes import LOOPBACK, Child, EngineError

_WORKERS, _CLIENTS = 2, 8
_ARRIVAL_SECONDS = 5
_HEALTH_SECONDS = 0.02  # between two health checks


def measure(scale: Scale, variables: dict[str, str], folder: Path) -> Rounds:
    """Measure rounds, each with new servers. Raises EngineError if a message or an event is lost."""
    return [_measure_api(scale, variables, folder) | _measure_constant(scale, folder) for _ in range(scale.rounds)]


def _measure_api(scale: Scale, variables: dict[str, str], folder: Path) -> dict[str, Sample]:
    samples: dict[str, Sample] = {}
    with Server("app:create_app", variables | {"WEB_CONCURRENCY": str(_WORKERS)}, folder) as server:
        send_and_receive = partial(_send_and_receive, server)
        send_to_others = partial(server.measure, other_sends(scale), clients=_CLIENTS)
        send_to_others(1)  # fills the caches and the pools
        for subject, streams in {NONE: 0, **STREAMS}.items():
            requests = live_sends(streams or STREAMS[MANY])
            list(_send(server.port, iter(requests[: scale.live])))  # fills the caches
            if not streams:
                samples[NONE] = send_and_receive(requests, scale.live)
                kib_per_stream = _measure_memory(server, folder)
                continue
            clients = StreamClients(server.port, listeners(streams), folder)
            with ExitStack() as stack:
                with _health_checks(server.port) as health_ms:
                    stack.enter_context(clients)
                samples[subject] = send_and_receive(requests, scale.live, clients)
                if subject == MANY:
                    samples[MANY]["kib_per_stream"] = kib_per_stream
                    samples[HOUR] = _measure_hour(server, requests, scale.hour, clients)
                    samples[HOUR]["health_ms"] = max(*health_ms, samples[HOUR]["health_ms"])
                    cpu_before = _cpu_seconds(server)
                    time.sleep(scale.idle)
                    samples[IDLE] = {"cpu_percent": (_cpu_seconds(server) - cpu_before) / scale.idle * 100}
                    samples[BESIDE] = send_to_others(scale.idle)
        samples[OTHERS] = send_to_others(scale.seconds)
    return samples


def _measure_hour(server: Server, requests: list[Request], count: int, clients: StreamClients) -> Sample:
    """Send the messages of an hour as fast as the server takes them; return the sample of their second half."""
    with _health_checks(server.port) as health_ms:
        _send_and_receive(server, requests, count // 2, clients)
        memory_before = _memory_mib(server)
        sample = _send_and_receive(server, requests, count // 2, clients)
    return {**sample, "growth_mib": _memory_mib(server) - memory_before, "health_ms": max(health_ms)}


def _measure_memory(server: Server | ConstantStream, folder: Path) -> float:
    """The memory of each of the first 1,000 streams in KiB, with the threads and connections that serve all of them."""
    memory_before = _memory_mib(server)
    with StreamClients(server.port, listeners(STREAMS[MANY]), folder):
        return (_memory_mib(server) - memory_before) * 1024 / STREAMS[MANY]


def _measure_constant(scale: Scale, folder: Path) -> dict[str, Sample]:
    samples = {}
    with ConstantStream(folder) as server:
        kib_per_stream = _measure_memory(server, folder)
        for subject, streams in STREAMS.items():
            with StreamClients(server.port, listeners(streams), folder) as clients:
                samples[CONSTANT + subject] = _send_and_receive(server, live_sends(streams), scale.live, clients)
    samples[CONSTANT + MANY]["kib_per_stream"] = kib_per_stream
    return samples


def _send_and_receive(
    server: Server | ConstantStream, requests: list[Request], count: int, clients: StreamClients | None = None
) -> Sample:
    """Send so many messages one after the other, and wait until all of them have arrived at the clients."""
    cpu_before, started_at = _cpu_seconds(server), time.monotonic()
    acknowledged_at = dict(_send(server.port, islice(cycle(requests), count)))
    seconds = time.monotonic() - started_at
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    while clients and not acknowledged_at.keys() <= clients.arrivals().keys():
        if time.monotonic() > deadline:
            raise EngineError(f"{len(acknowledged_at.keys() - clients.arrivals().keys())} messages did not arrive")
        time.sleep(0.01)
    sample = {"cpu_us": (_cpu_seconds(server) - cpu_before) / count * 1e6, "requests_per_second": count / seconds}
    if clients:
        arrivals = clients.arrivals()
        delays = [max(0.0, arrivals[uuid] - acknowledged) * 1000 for uuid, acknowledged in acknowledged_at.items()]
        percentiles = quantiles(delays, n=100)
        sample |= {"p50_ms": percentiles[49], "p99_ms": percentiles[98], "max_ms": max(delays)}
    return sample


def _send(port: int, requests: Iterator[Request]) -> Iterator[tuple[str, float]]:
    """The uuid of each message, and the time of its response by the monotonic clock."""
    connection = HTTPConnection(LOOPBACK, port, timeout=10)
    for path, token, body in requests:
        connection.request("POST", path, body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        response = connection.getresponse()
        content, acknowledged_at = response.read(), time.monotonic()
        if response.status != 200:
            raise EngineError(f"a message was refused: {content.decode()}")
        yield json.loads(content)["uuid"], acknowledged_at
    connection.close()


@contextmanager
def _health_checks(port: int) -> Iterator[list[float]]:
    """Check the health again and again, each time on a new connection; yield a list of the milliseconds."""
    milliseconds: list[float] = []
    stop = Event()

    def check() -> None:
        while not stop.wait(_HEALTH_SECONDS):
            started_at = time.monotonic()
            connection = HTTPConnection(LOOPBACK, port, timeout=10)
            connection.request("GET", "/api/health-check")
            connection.getresponse().read()
            connection.close()
            milliseconds.append((time.monotonic() - started_at) * 1000)

    thread = Thread(target=check)
    thread.start()
    try:
        yield milliseconds
    finally:
        stop.set()
        thread.join()


def _cpu_seconds(server: Child) -> float:
    """User and system time of a server's processes so far, as the kernel counts it."""
    return float(sum(sum(process.cpu_times()[:2]) for process in _processes(server)))


def _memory_mib(server: Child) -> float:
    """The memory of a server's processes. A page that processes share counts once (PSS)."""
    return float(sum(process.memory_full_info().pss for process in _processes(server))) / 2**20


def _processes(server: Child) -> list[psutil.Process]:
    server.raise_if_dead()
    process = psutil.Process(server.pid)
    return [process, *process.children(recursive=True)]
