"""A server on loopback that reacts to each request as a test scripts it: well, badly, slowly or not at all."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Self

from tools.local_stack.processes import LOOPBACK

HEADERS = b"Content-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: R1\r\n"
HTML = b"HTTP/1.1 %d Any\r\nContent-Type: text/html\r\nContent-Length: 11\r\n\r\n<html>no</a"

Reaction = Callable[[socket.socket], bool | None]
"""What the server does on a connection when a request has arrived; False ends the connection."""


def response(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A response of DynamoDB or Cognito."""
    lines = [b"HTTP/1.1 " + status, *headers, HEADERS + b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def refusal(code: str, *headers: bytes, status: bytes = b"400 Bad Request") -> bytes:
    """The response of an operation that failed. Its message is `secret-text`."""
    body = {"__type": f"com.amazonaws#{code}", "message": "secret-text"}
    return response(json.dumps(body).encode(), *headers, status=status)


def send(*parts: bytes, pause: float = 0) -> Reaction:
    def react(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    return react


def send_and_close(*parts: bytes) -> Reaction:
    return lambda connection: send(*parts)(connection) or False


def reset(connection: socket.socket) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def hang(connection: socket.socket) -> bool:
    """Send nothing for as long as the client waits."""
    with suppress(OSError):
        connection.recv(1)
    return False


class ScriptedServer(ThreadingTCPServer):
    """Takes a reaction off `script` for each request; with an empty script it sends `respond(body)`.

    `requests` are the heads and bodies of the requests.
    """

    request_queue_size = 64

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__((LOOPBACK, 0), BaseRequestHandler)
        self._tls = tls
        self.port = self.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{LOOPBACK}:{self.port}"
        self.script: list[Reaction] = []
        self.respond: Callable[[bytes], bytes] = response
        self.requests: list[tuple[bytes, bytes]] = []
        self._accepted: list[socket.socket] = []

    @property
    def connections(self) -> int:
        """How many connections the server has accepted."""
        return len(self._accepted)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=[0.01]).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.hang_up()
        self.server_close()

    def hang_up(self) -> None:
        """Close every connection, as a server does with idle ones."""
        for connection in self._accepted:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self._accepted.append(request)
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        with (
            suppress(OSError),
            self._tls.wrap_socket(request, server_side=True) if self._tls else request as connection,
        ):
            while message := _read_request(connection):
                self.requests.append(message)
                react = self.script.pop(0) if self.script else send(self.respond(message[1]))
                if react(connection) is False:
                    break
        connection.close()

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without the end of the stream that a reset must not send


def _read_request(connection: socket.socket) -> tuple[bytes, bytes] | None:
    received = b""
    while b"\r\n\r\n" not in received:
        if not (data := connection.recv(65_536)):
            return None
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = sum(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65_536)
    return head, body
