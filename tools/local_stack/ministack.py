"""ministack on the loopback address: DynamoDB, its streams and Cognito behind one port."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tools.local_stack.environment import CREDENTIALS, REGION
from tools.local_stack.processes import LOOPBACK, Child, bare_environment, free_port, responds


class Ministack(Child):
    """A ministack with its files below `folder`. If `persistent`, it saves its state when it stops, not at a crash.

    `options` are further environment variables of ministack.
    """

    def __init__(self, folder: Path, *, log: Path, persistent: bool, **options: str) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        temporary = folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        environment = bare_environment(
            **CREDENTIALS,
            AWS_DEFAULT_REGION=REGION,
            MINISTACK_REGION=REGION,
            BIND_HOST=LOOPBACK,  # default: all addresses of the machine
            GATEWAY_PORT=str(port),
            IOT_MTLS_ENABLED="0",  # default: a second listener, on port 8883
            SFTP_ENABLED="0",
            DOCKER_HOST=f"unix://{folder / 'no-docker'}",  # by default ministack removes containers of other ministacks
            TMPDIR=str(temporary),
            PERSIST_STATE="1" if persistent else "0",
            STATE_DIR=str(folder / "state"),  # signing keys are in it even without persistence
            S3_DATA_DIR=str(folder / "s3"),
            LOG_LEVEL="INFO",  # logs starts and saved files, but no requests
            **options,
        )
        super().__init__(
            "ministack",
            [sys.executable, "-m", "ministack"],
            env=environment,
            ready=responds(f"{self.url}/_ministack/health"),
            log=log,
            cwd=folder,
            stop_signal=signal.SIGTERM if persistent else signal.SIGKILL,
        )
