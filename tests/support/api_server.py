"""The API behind its real server, as a process of its own."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from lib.config import ROOT
from tools.local_stack.processes import LOOPBACK, Child, bare_environment, free_port, responds

HIGH_LIMITS = {
    "RATE_LIMIT_SENDS": "1000000 per minute; 1000000 per 10 seconds",
    "RATE_LIMIT_CHANGES": "1000000 per minute",
    "RATE_LIMIT_PROFILES": "1000000 per minute",
    "RATE_LIMIT_ANONYMOUS": "1000000 per minute",
    "FIRST_CONTACTS_PER_DAY": "1000000",
}
"""Limits that tests never reach, which count all the same."""

SETTINGS = HIGH_LIMITS | {
    "SECRET_KEY": "a secret key of 32 characters or more",
    "DATABASE_URL": "postgresql://127.0.0.1:9/nowhere",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_COGNITO_USER_POOL_ID": "us-east-1_nowhere",
    "AWS_COGNITO_USER_POOL_CLIENT_ID": "nobody",
}
"""The settings that the server needs to start. They lead to no backend."""


class ApiServer(Child):
    """The server on loopback, by default on a free port. `variables` are its settings; without, it has no backend."""

    def __init__(
        self,
        log: Path,
        *,
        application: str = "app:create_app",
        port: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        **variables: str,
    ) -> None:
        self.port = port or free_port()
        environment = SETTINGS | {"PORT": str(self.port), **variables}
        super().__init__(
            "the API",
            [sys.executable, ROOT / "serve.py", application],
            env=bare_environment(**environment),
            ready=responds(f"http://{LOOPBACK}:{self.port}/api/health-check"),
            log=log,
            cwd=ROOT,
            stop_signal=stop_signal,
        )
