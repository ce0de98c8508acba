"""Slow, idle and too many clients: no other client waits, and the server frees all that they held."""

from __future__ import annotations

import contextlib
import http.client
import resource
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from typing import Self

import psutil
import pytest

from tests.support.api_server import ApiServer
from tests.support.clocks import eventually, time_limit
from tools.local_stack.processes import LOOPBACK

READ = "/api/message_groups/5ae290ed-55d1-47a0-bc6d-fe2bc2700399/read"
HEAD = "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer x.y.z\r\n"
TO_MESSAGES, TO_READ = (HEAD.format(path).encode() for path in ("/api/messages", READ))
SIZED, CHUNKED = b"Content-Length: 50\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n32\r\n{"
KINDS = (TO_MESSAGES + SIZED, TO_READ + SIZED, TO_MESSAGES + CHUNKED, TO_READ + CHUNKED)


@pytest.fixture(scope="module", autouse=True)
def _many_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, limits[1]) if limits[1] >= 0 else 8192, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("slow") / "log", WEB_CONCURRENCY="2", WEB_THREADS="2") as server:
        with Others(server):  # the first requests import modules and fill caches, which is no leak
            time.sleep(0.5)
        yield server


class Others:
    """Two other clients. All their requests must succeed, and 99 of 100 must take less than 250 ms.

    One client keeps its connection, one opens a connection for each request.
    """

    def __init__(self, server: ApiServer) -> None:
        self._port = server.port
        self._workers = psutil.Process(server.pid).children()
        self._is_over = threading.Event()
        self._seconds: list[float] = []
        self._failed: list[object] = []
        self._threads = [threading.Thread(target=self._run, args=[persists]) for persists in (True, False)]

    def __enter__(self) -> Self:
        self._before = [(worker.num_threads(), worker.memory_info().rss) for worker in self._workers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        assert self._failed == []
        slowest = sorted(self._seconds)[int(len(self._seconds) * 0.99)]
        assert slowest < 0.25, f"p99 of {len(self._seconds)} is {slowest:.3f} s"

    def assert_nothing_is_left(self) -> None:
        """Assert that the workers have the same threads and memory as before, and no connection."""
        eventually(lambda: not any(connections(worker, self._port) for worker in self._workers))
        for worker, (threads, memory) in zip(self._workers, self._before, strict=True):
            assert connections(worker, self._port) == 0
            assert worker.num_threads() == threads
            assert worker.memory_info().rss < memory + 24 * 2**20

    def _run(self, persists: bool) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=10)
        while not self._is_over.wait(0.004):
            for path, expected in (("/api/health-check", 200), ("/api/message_groups", 401)):
                began = time.monotonic()
                try:
                    connection.request("GET", path)
                    response = connection.getresponse()
                    response.read()
                    if response.status != expected:
                        self._failed.append((path, response.status))
                except OSError as error:
                    self._failed.append(error)
                self._seconds.append(time.monotonic() - began)
                if not persists:
                    connection.close()
        connection.close()


def connections(worker: psutil.Process, port: int) -> int:
    """The number of clients that are connected to a worker."""
    return sum(connection.laddr.port == port and connection.raddr != () for connection in worker.net_connections("tcp"))


@contextlib.contextmanager
def clients(server: ApiServer, count: int, sent: tuple[bytes, ...] = (b"",)) -> Iterator[list[socket.socket]]:
    """The connections of `count` clients. The clients send the texts of `sent` in turn."""
    with contextlib.ExitStack() as stack:
        opened = []
        for number in range(count):
            connection = stack.enter_context(socket.create_connection((LOOPBACK, server.port), timeout=20))
            connection.sendall(sent[number % len(sent)])
            opened.append(connection)
        yield opened


def responses(slow: list[socket.socket]) -> list[bytes]:
    """All that each client receives until its connection ends. Meanwhile every second client sends a byte a second."""
    received = dict.fromkeys(slow, b"")
    with selectors.DefaultSelector() as selector:
        for connection in slow:
            selector.register(connection, selectors.EVENT_READ)
        due = time.monotonic() + 1
        while selector.get_map():
            for key, _ in selector.select(timeout=0.1):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                try:
                    data = connection.recv(65536)
                except ConnectionResetError:
                    data = b""
                received[connection] += data
                if not data:
                    selector.unregister(connection)
            if time.monotonic() > due:
                due += 1
                for connection in slow[::2]:
                    with contextlib.suppress(OSError):
                        connection.send(b"x")
    return list(received.values())


def test_slow_bodies_delay_no_other_client(server: ApiServer) -> None:
    with Others(server) as others, contextlib.ExitStack() as stack:
        slow: list[socket.socket] = []
        for count in (1, 2, 32, 200):
            slow += stack.enter_context(clients(server, count, KINDS))
            time.sleep(0.2)
        for response in responses(slow):
            head, _, body = response.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408")
            assert b"connection: close" in head
            assert b"x-request-id: " in head
            assert body == b'["body_too_slow"]\n'
    others.assert_nothing_is_left()


def test_incomplete_headers_delay_no_other_client(server: ApiServer) -> None:
    halves = (b"GET /", b"GET /api/health-check HTTP/1.1\r\nX-Half-A-Header", TO_MESSAGES, b"GET /" + b"x" * 20_000)
    with Others(server) as others, time_limit(8), clients(server, 500, halves) as slow:
        assert set(responses(slow)) == {b""}
    others.assert_nothing_is_left()


def test_idle_connections_delay_no_other_client(server: ApiServer) -> None:
    with Others(server) as others, clients(server, 2000, (b"GET /api/health-check HTTP/1.1\r\nHost: x\r\n\r\n", b"")):
        time.sleep(2)
    others.assert_nothing_is_left()


def test_clients_that_do_not_read_share_the_bytes_of_a_file(server: ApiServer) -> None:
    request = b"GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    workers = psutil.Process(server.pid).children()
    with clients(server, 10, (request,)) as readers:  # each worker reads the file
        assert all(response.startswith(b"HTTP/1.1 200") for response in responses(readers))
    before = sum(worker.memory_info().rss for worker in workers)
    with Others(server), clients(server, 80, (request,)) as idle:
        for client in idle:
            assert client.recv(16).startswith(b"HTTP/1.1 200")
        assert sum(worker.memory_info().rss for worker in workers) < before + 24 * 2**20
