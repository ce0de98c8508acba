"""A server on loopback that answers each request as a test says: well, badly, slowly or not at all."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tools.local_stack.processes import LOOPBACK

BODY = json.dumps({"Items": [{"pk": {"S": "MSG#ä"}, "n": {"N": "1"}}], "Count": 1}).encode()
HEADERS = b"Content-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: R1\r\n"
GOOD = b"HTTP/1.1 200 OK\r\n" + HEADERS + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY

Play = Callable[[socket.socket], bool | None]
"""What to do on a connection when a request has arrived; False ends the connection."""


def say(*parts: bytes, pause: float = 0) -> Play:
    def play(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    return play


def end(*parts: bytes) -> Play:
    """Say something, and close the connection."""

    def play(connection: socket.socket) -> bool:
        say(*parts)(connection)
        return False

    return play


def reset(connection: socket.socket) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def wait(connection: socket.socket) -> bool:
    """Say nothing for as long as the client waits."""
    with suppress(OSError):
        connection.recv(1)
    return False


class ScriptedServer:
    """Takes a play off `plays` for each request, and keeps the requests; without a play `answer` says what to say."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listening = socket.create_server((LOOPBACK, 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{LOOPBACK}:{self.port}"
        self.plays: list[Play] = []
        self.answer: Callable[[bytes], bytes] = lambda body: GOOD
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(10)

    def hang_up(self) -> None:
        """Close every connection, as a server does with idle ones."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection)

    def _serve(self, accepted: socket.socket) -> None:
        connection = accepted
        with suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(accepted, server_side=True)
            while request := _read_request(connection):
                self.requests.append(request)
                play = self.plays.pop(0) if self.plays else say(self.answer(request[1]))
                if play(connection) is False:
                    break
        connection.close()


def _read_request(connection: socket.socket) -> tuple[bytes, bytes] | None:
    received = b""
    while b"\r\n\r\n" not in received:
        if not (more := connection.recv(65_536)):
            return None
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    [length] = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int(length):
        body += connection.recv(65_536)
    return head, body
