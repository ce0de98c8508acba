"""The API behind its real server: what only shows on a socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.local.processes import LOOPBACK
from tests.api_server import ApiServer

SECRET = "a-secret-of-somebody@example.com"
GET = b"GET /api/health-check HTTP/1.1\r\nHost: x\r\n"


class Server(ApiServer):
    """One worker with one thread, and nothing behind it."""

    def __init__(self, log: Path) -> None:
        super().__init__(log, WEB_CONCURRENCY="1", WEB_THREADS="1")

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.port), timeout=20)

    def says(self, request: bytes) -> bytes:
        """Everything that is answered on a connection of its own."""
        with self.connect() as connection, connection.makefile("rb") as answer:
            connection.sendall(request)
            return answer.read()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("gunicorn") / "log") as server:
        yield server


def lines(server: Server) -> list[str]:
    assert server.log is not None
    return server.log.read_text().splitlines()


def test_malformed_request_is_refused_and_its_content_stays_out_of_the_log(server: Server) -> None:
    body = '{"message": "' + "é" * 60 + SECRET + '"}'
    counted_in_characters = f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    server.says(b"POST /api/messages HTTP/1.1\r\nHost: x\r\n" + counted_in_characters + GET + b"\r\n")
    assert server.says(GET + f"Authorization Bearer {SECRET}\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")

    assert SECRET not in "\n".join(lines(server))
    assert [json.loads(line)["event"] for line in lines(server)]


def test_silent_client_does_not_keep_the_others_waiting_for_ever(server: Server) -> None:
    with server.connect() as silent:
        silent.sendall(GET + b"X-Half-A-Header")
        began = time.monotonic()
        assert server.says(GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began < 10
        assert silent.recv(1000) == b""
