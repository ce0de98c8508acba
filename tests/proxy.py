"""A TCP proxy on loopback that loses requests and answers, for tests of what is left after that.

Knows HTTP only so far as one connection carries one request after the other.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections import Counter
from enum import StrEnum
from typing import Self


class Fault(StrEnum):
    """Where the connection is cut."""

    BEFORE = "before the request was forwarded"
    AFTER = "after it was forwarded, before the answer"
    WITHIN = "within the answer"


class Proxy:
    """Forwards to a port of the loopback address while it is open as a context manager.

    `odds` is how likely each part of a request or an answer meets a fault; `lose_answers_to` cuts after every request
    that holds these bytes. `counts` tells what was cut.
    """

    def __init__(self, target_port: int, *, seed: int = 0) -> None:
        self.odds = 0.0
        self.lose_answers_to: bytes | None = None
        self.counts: Counter[Fault] = Counter()
        self._target = ("127.0.0.1", target_port)
        self._random = random.Random(seed)  # noqa: S311
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut_all(self) -> None:
        """Close every connection, whatever is under way on it."""
        with self._lock:
            for end in self._open:
                _close(end)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _close(self._listener)
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as engine:
            with self._lock:
                self._open |= {client, engine}
            lost = threading.Event()  # the answer to the request under way
            back = threading.Thread(target=self._answers, args=(engine, client, lost), daemon=True)
            back.start()
            self._requests(client, engine, lost)
            _close(client)
            _close(engine)
            back.join()
            with self._lock:
                self._open -= {client, engine}

    def _requests(self, client: socket.socket, engine: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while part := client.recv(1 << 20):
                if self._meets(Fault.BEFORE):
                    return
                if self.lose_answers_to and self.lose_answers_to in part:
                    lost.set()
                engine.sendall(part)

    def _answers(self, engine: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while part := engine.recv(1 << 20):
                if lost.is_set():
                    self.counts[Fault.AFTER] += 1
                    break
                if self._meets(Fault.AFTER):
                    break
                if self._meets(Fault.WITHIN):
                    client.sendall(part[: len(part) // 2])
                    break
                client.sendall(part)
        _close(client)

    def _meets(self, fault: Fault) -> bool:
        with self._lock:
            met = self._random.random() < self.odds
            self.counts[fault] += met
        return met


def _close(end: socket.socket) -> None:
    """Shut a socket down, which wakes who waits on it; its owner closes it."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
