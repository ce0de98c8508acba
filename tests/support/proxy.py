"""A proxy on loopback, in front of an engine that speaks DynamoDB, which loses and garbles what it is told to.

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
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tools.local_stack.processes import LOOPBACK

LATEST_SECONDS = 1.5
_FRAMING = ("connection", "content-length", "keep-alive", "transfer-encoding")


class Cut(StrEnum):
    """Where the connection breaks."""

    BEFORE = "before the request reached the engine"
    LATE = "before the request reached the engine, which gets it a moment later all the same"
    AFTER = "after the engine had done it, before the answer"
    WITHIN = "within the answer"


class Stall(StrEnum):
    """How the answer is late, once the engine has done it; the connection stays until the client ends it."""

    SILENT = "it never comes"
    DRIBBLE = "it comes by one byte a second"


Say = Callable[[bytes, Callable[[], bytes]], bytes]
"""What is said in the engine's place, from the request's body; calling the second argument lets the engine do it.

The connection stays open after it, unless nothing is said, or it has `Connection: close`.
"""


Fault = Cut | Stall | Say


class Seen(NamedTuple):
    """A request that arrived, and what became of it: None if it was forwarded and answered."""

    operation: str
    body: bytes
    fault: Fault | None


class LossyProxy(ThreadingHTTPServer):
    """Forwards to `engine_url` while it is open as a context manager; leaving it waits for what it has forwarded.

    `choose` is asked at each request, with the name of its operation, where to cut or what to say. `seen` are the
    requests, `cuts` counts what was chosen, and `broken` the connections that `cut_all` broke.
    """

    daemon_threads = False  # closing waits for them
    request_queue_size = 64

    def __init__(self, engine_url: str, *, seed: int = 0) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.url = f"http://{LOOPBACK}:{self.server_port}"
        self.engine = urlsplit(engine_url).netloc
        self.random = random.Random(seed)  # noqa: S311
        self.choose: Callable[[str], Fault | None] = lambda operation: None
        self.cuts: Counter[tuple[str, Fault]] = Counter()
        self.seen: list[Seen] = []
        self.broken = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def cut_all(self) -> None:
        """Break every connection, whatever is under way on it."""
        with self._lock:
            for connection in self._open:
                hang_up(connection)
            self.broken += len(self._open)

    def cut(self, operation: str, body: bytes) -> Fault | None:
        with self._lock:
            cut = self.choose(operation)
            self.seen.append(Seen(operation, body, cut))
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
        cut = self.server.cut(self.headers["X-Amz-Target"].partition(".")[2], body)
        if not isinstance(cut, Cut | Stall):
            said = cut(body, lambda: self._answer(body)) if cut else self._answer(body)
            self.close_connection = not said or b"\r\nConnection: close\r\n" in said
            self.wfile.write(said)
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
        elif cut is Stall.SILENT:
            self._answer(body)
            self.connection.recv(1)
        elif cut is Stall.DRIBBLE:
            for byte in self._answer(body):
                self.wfile.write(bytes([byte]))
                time.sleep(1)
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
