"""A stand-in for a pooler in transaction mode, on loopback in front of Postgres: it delivers no notifications."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict

from tools.local_stack.processes import LOOPBACK

NOTIFICATION = b"A"  # https://www.postgresql.org/docs/current/protocol-message-formats.html


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with self.server.connect() as postgres:
            threading.Thread(target=self._forward_requests, args=[postgres], daemon=True).start()
            responses = postgres.makefile("rb")
            with suppress(OSError):
                while head := responses.read(5):
                    body = responses.read(int.from_bytes(head[1:]) - 4)
                    if head[:1] != NOTIFICATION:
                        self.request.sendall(head + body)

    def _forward_requests(self, postgres: socket.socket) -> None:
        with suppress(OSError):
            while data := self.request.recv(65_536):
                postgres.sendall(data)
            postgres.shutdown(socket.SHUT_RDWR)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__((LOOPBACK, 0), _Connection)
        self._postgres = conninfo_to_dict(url)

    def connect(self) -> socket.socket:
        host, port = str(self._postgres["host"]), int(self._postgres.get("port") or 5432)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{host}/.s.PGSQL.{port}")
        return connection


@contextmanager
def pooler(url: str) -> Iterator[str]:
    """The URL of the same database through the pooler."""
    with _Server(url) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = conninfo_to_dict(url)
        user = ":".join(str(own[name]) for name in ("user", "password") if own.get(name))
        yield f"postgresql://{user}@{LOOPBACK}:{server.server_address[1]}/{own['dbname']}?sslmode=disable"
        server.shutdown()
