"""The API behind its real server: what only shows on a socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lib.config import ROOT
from lib.local.processes import LOOPBACK, Child, answers, bare_environment, free_port
from serve import LEAN
from tests.api_server import SETTINGS, ApiServer

SECRET = "a-secret-of-somebody@example.com"
GET = b"GET /api/health-check HTTP/1.1\r\nHost: x\r\n"


class Server(ApiServer):
    """One worker with one thread, and nothing behind it."""

    def __init__(self, log: Path, **variables: str) -> None:
        super().__init__(log, WEB_CONCURRENCY="1", WEB_THREADS="1", **variables)

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.port), timeout=20)

    def says(self, request: bytes) -> bytes:
        """Everything that is answered on a connection of its own."""
        with self.connect() as connection, connection.makefile("rb") as answer:
            connection.sendall(request)
            return answer.read()

    def worker(self) -> psutil.Process:
        [worker] = psutil.Process(self.pid).children()
        return worker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "log") as server:
        yield server


def lines(server: Server) -> list[str]:
    assert server.log is not None
    return server.log.read_text().splitlines()


def test_a_stop_does_not_wait_for_a_worker_that_is_still_starting(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(60)\n")
    server = Child(
        "a slow server",
        [sys.executable, ROOT / "serve.py", "slow:create_app"],
        env=bare_environment(**SETTINGS, PORT=str(free_port()), PYTHONPATH=str(tmp_path)),
        ready=(tmp_path / "begun").exists,
        log=tmp_path / "log",
        cwd=tmp_path,
    )
    with server:
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5


def test_a_worker_is_lean_unless_the_environment_says_otherwise(server: Server, tmp_path: Path) -> None:
    assert LEAN.items() <= server.worker().environ().items()
    with Server(tmp_path / "log", MALLOC_ARENA_MAX="2") as other:
        assert (LEAN | {"MALLOC_ARENA_MAX": "2"}).items() <= other.worker().environ().items()


def test_each_line_of_the_log_is_json_and_a_request_leaves_one(server: Server) -> None:
    before = len(lines(server))
    server.says(GET + b"Connection: close\r\n\r\n")
    assert [json.loads(line)["event"] for line in lines(server)[before:]] == ["request"]
    assert all(json.loads(line) for line in lines(server))


def test_malformed_request_is_refused_and_its_content_stays_out_of_the_log(server: Server) -> None:
    body = '{"message": "' + "é" * 60 + SECRET + '"}'
    counted_in_characters = f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    server.says(b"POST /api/messages HTTP/1.1\r\nHost: x\r\n" + counted_in_characters + GET + b"\r\n")
    assert server.says(GET + f"Authorization Bearer {SECRET}\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")
    assert SECRET not in "\n".join(lines(server))


def test_too_many_headers_are_refused(server: Server) -> None:
    assert server.says(GET + b"X: x\r\n" * 200 + b"\r\n").startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "head", [GET + b"X-Half-A-Header", b"POST /api/messages HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
)
def test_clients_that_stop_in_the_middle_keep_nobody_waiting(server: Server, head: bytes) -> None:
    silent = [server.connect() for _ in range(40)]
    try:
        for connection in silent:
            connection.sendall(head)
        began = time.monotonic()
        assert server.says(GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began < 2
    finally:
        for connection in silent:
            connection.close()


def test_a_worker_that_dies_is_replaced(server: Server) -> None:
    dead = server.worker()
    dead.kill()
    healthy = answers(f"http://{LOOPBACK}:{server.port}/api/health-check")
    deadline = time.monotonic() + 10
    while not healthy() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert healthy()
    assert server.worker() != dead


def test_a_port_that_somebody_has_is_not_shared(server: Server) -> None:
    done = subprocess.run(server._command, env=server._env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on {LOOPBACK} port {server.port}" in done.stderr


def test_a_request_in_flight_is_answered_before_the_server_ends(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "def make():\n"
        "    def application(environ, start):\n"
        "        start('200 OK', [])\n"
        "        time.sleep(1)\n"
        "        return [b'done']\n"
        "    return application\n"
    )
    with Server(tmp_path / "log", application="slow:make", PYTHONPATH=str(tmp_path)) as server:
        assert server.pid is not None
        with server.connect() as connection, connection.makefile("rb") as answer:
            connection.sendall(GET + b"Connection: close\r\n\r\n")
            time.sleep(0.2)
            os.kill(server.pid, signal.SIGTERM)
            assert answer.read().endswith(b"done")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_listens_where_it_is_told_to(tmp_path: Path, host: str) -> None:
    server = Server(tmp_path / "log", HOST=host)
    address = f"[{host}]" if ":" in host else host
    server._ready = answers(f"http://{address}:{server.port}/api/health-check")
    with server, socket.create_connection((host, server.port)) as connection:
        assert connection.getpeername()[0] == host
