"""A proxy on loopback in front of an engine that speaks DynamoDB. It loses and garbles responses on demand.

It forwards whole requests and whole responses, so a test knows what the engine had done when the connection broke.
"""

from __future__ import annotations

import math
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from tools.local_stack.processes import LOOPBACK

LATEST_SECONDS = 1.5
_FRAMING = ("connection", "content-length", "keep-alive", "transfer-encoding")


class Cut(StrEnum):
    """Where the connection breaks."""

    BEFORE = "before the request reached the engine"
    LATE = "before the request reached the engine, which gets it a moment later all the same"
    AFTER = "after the engine had done it, before the response"
    WITHIN = "within the response"


class Stall(StrEnum):
    """How the response is late, once the engine has done it; the connection stays until the client ends it."""

    SILENT = "it never comes"
    DRIBBLE = "it comes by one byte a second"


FakeResponse = Callable[[bytes, Callable[[], bytes]], bytes]
"""Makes the response from the request's body; calling the second argument lets the engine handle the request.

The connection stays open afterwards, unless the response is empty or has `Connection: close`.
"""


Fault = Cut | Stall | FakeResponse


@dataclass(slots=True)
class Request:
    """A request, its fault or None, and when its response left the proxy, by the monotonic clock."""

    operation: str
    body: bytes
    fault: Fault | None
    responded_at: float = math.inf


class LossyProxy(ThreadingHTTPServer):
    """Forwards to `engine_url` inside its `with` block. At the end it waits for the responses to forwarded requests.

    `choose` gets each request's operation and returns its fault. `requests` are all requests in their order, `faults`
    counts them by operation and fault, and `broken` counts the connections that `cut_all` broke.
    """

    daemon_threads = False  # closing waits for them
    request_queue_size = 64

    def __init__(self, engine_url: str, *, seed: int = 0) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.url = f"http://{LOOPBACK}:{self.server_port}"
        self.engine = urlsplit(engine_url).netloc
        self.random = random.Random(seed)  # noqa: S311
        self.choose: Callable[[str], Fault | None] = lambda operation: None
        self.faults: Counter[tuple[str, Fault]] = Counter()
        self.requests: list[Request] = []
        self.broken = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def cut_all(self) -> None:
        """Break every connection, also during a request."""
        with self._lock:
            for connection in self._open:
                hang_up(connection)
            self.broken += len(self._open)

    def record(self, operation: str, body: bytes) -> Request:
        with self._lock:
            request = Request(operation, body, self.choose(operation))
            self.requests.append(request)
            if request.fault:
                self.faults[operation, request.fault] += 1
            return request

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a lost peer, because tests kill servers. Any other error fails the test."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            raise

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.cut_all()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LossyProxy

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the sender is gone
            self.close_connection = True
            return
        request = self.server.record(self.headers["X-Amz-Target"].partition(".")[2], body)
        fault = request.fault
        if not isinstance(fault, Cut | Stall):
            response = fault(body, lambda: self._forward(body)) if fault else self._forward(body)
            self.close_connection = not response or b"\r\nConnection: close\r\n" in response
            self.wfile.write(response)
            request.responded_at = time.monotonic()
            return
        self.close_connection = True
        if fault is Cut.BEFORE:
            pass
        elif fault is Cut.LATE:
            hang_up(self.connection)
            time.sleep(self.server.random.uniform(0, LATEST_SECONDS))
            self._forward(body)
        elif fault is Cut.AFTER:
            self._forward(body)
        elif fault is Cut.WITHIN:
            response = self._forward(body)
            self.wfile.write(response[: self.server.random.randrange(1, len(response))])
        elif fault is Stall.SILENT:
            self._forward(body)
            self.connection.recv(1)
        elif fault is Stall.DRIBBLE:
            for byte in self._forward(body):
                self.wfile.write(bytes([byte]))
                time.sleep(1)
        else:
            raise AssertionError(fault)
        hang_up(self.connection)

    def _forward(self, body: bytes) -> bytes:
        """The engine's response: status line, headers and content."""
        with closing(HTTPConnection(self.server.engine, timeout=30)) as engine:
            engine.request("POST", self.path, body, dict(self.headers))
            response = engine.getresponse()
            content = response.read()
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _FRAMING]
        lines = [f"{name}: {value}" for name, value in [*headers, ("Content-Length", len(content))]]
        head = "\r\n".join([f"HTTP/1.1 {response.status} {response.reason}", *lines, "", ""])
        return head.encode("latin-1") + content

    def log_message(self, *_: Any) -> None:
        """Keep the test output clean."""


def hang_up(connection: socket.socket) -> None:
    """Shut a socket down, which wakes the thread that waits on it; its owner closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
