"""A proxy on loopback, in front of an engine that speaks DynamoDB, which loses what it is told to lose.

It carries whole requests and whole answers, so that a test can say what had happened when the connection broke.
"""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from lib.local.processes import LOOPBACK

LATEST_SECONDS = 1.5
_FRAMING = ("connection", "content-length", "keep-alive", "transfer-encoding")


class Cut(StrEnum):
    """Where the connection breaks."""

    BEFORE = "before the request reached the engine"
    LATE = "before the request reached the engine, which gets it a moment later all the same"
    AFTER = "after the engine had done it, before the answer"
    WITHIN = "within the answer"


class LossyProxy(ThreadingHTTPServer):
    """Forwards to `engine_url` while it is open as a context manager; leaving it waits for what it has forwarded.

    `choose` is asked at each request, with the name of its operation, where to cut. `cuts` counts what it chose, and
    `broken` the connections that `cut_all` broke.
    """

    daemon_threads = False  # closing waits for them
    request_queue_size = 64

    def __init__(self, engine_url: str, *, seed: int = 0) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.url = f"http://{LOOPBACK}:{self.server_port}"
        self.engine = urlsplit(engine_url).netloc
        self.random = random.Random(seed)  # noqa: S311
        self.choose: Callable[[str], Cut | None] = lambda operation: None
        self.cuts: Counter[tuple[str, Cut]] = Counter()
        self.broken = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def cut_all(self) -> None:
        """Break every connection, whatever is under way on it."""
        with self._lock:
            for connection in self._open:
                hang_up(connection)
            self.broken += len(self._open)

    def cut(self, operation: str) -> Cut | None:
        with self._lock:
            cut = self.choose(operation)
            if cut:
                self.cuts[operation, cut] += 1
            return cut

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The other end may be gone, as it is killed now and then; anything else fails the test."""
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
        if len(body) < length:  # who sent it is gone
            self.close_connection = True
            return
        cut = self.server.cut(self.headers["X-Amz-Target"].partition(".")[2])
        if cut is None:
            self.wfile.write(self._answer(body))
            return
        self.close_connection = True
        if cut is Cut.BEFORE:
            pass
        elif cut is Cut.LATE:
            hang_up(self.connection)
            time.sleep(self.server.random.uniform(0, LATEST_SECONDS))
            self._answer(body)
        elif cut is Cut.AFTER:
            self._answer(body)
        elif cut is Cut.WITHIN:
            answer = self._answer(body)
            self.wfile.write(answer[: self.server.random.randrange(1, len(answer))])
        else:
            raise AssertionError(cut)
        hang_up(self.connection)

    def _answer(self, body: bytes) -> bytes:
        """What the engine says, as it travels."""
        with closing(HTTPConnection(self.server.engine, timeout=30)) as engine:
            engine.request("POST", self.path, body, dict(self.headers))
            answer = engine.getresponse()
            content = answer.read()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _FRAMING]
        lines = [f"{name}: {value}" for name, value in [*headers, ("Content-Length", len(content))]]
        head = "\r\n".join([f"HTTP/1.1 {answer.status} {answer.reason}", *lines, "", ""])
        return head.encode("latin-1") + content

    def log_message(self, *_: Any) -> None:
        """Keep the test output clean."""


def hang_up(connection: socket.socket) -> None:
    """Shut a socket down, which wakes who waits on it; its owner closes it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
