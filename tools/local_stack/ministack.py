"""ministack on the loopback address: DynamoDB, its streams and Cognito behind one port."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

from lib.config import ROOT
from tools.local_stack.environment import CREDENTIALS, REGION, write_private
from tools.local_stack.processes import (
    LOOPBACK,
    Child,
    EngineError,
    bare_environment,
    free_port,
    is_port_taken,
    responds,
)

SERVICES = ("dynamodb", "dynamodbstreams", "cognito-idp")
"""Those of the local stack. By Lambda, every user of the machine could run code as the user of ministack.

ministack_server.py refuses what this list leaves.
"""

ALL_SERVICES: tuple[str, ...] = ()

_SAVED = {"dynamodb.json": "DynamoDB", "cognito.json": "Cognito"}
_SAVE_SECONDS = 120  # a million messages take half a minute


class Ministack(Child):
    """A ministack with its files below `folder`. It refuses all services but those of `services`.

    If `persistent`, it saves its state when it stops, not at a crash, and takes the same port at each start if the port
    is free. The pages of `origins`, separated by commas, may sign in at its Cognito. `options` are further environment
    variables of ministack.
    """

    def __init__(
        self,
        folder: Path,
        *,
        log: Path,
        persistent: bool,
        services: tuple[str, ...] = SERVICES,
        origins: str = "",
        **options: str,
    ) -> None:
        temporary = folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # the files of `state` hold messages, password hashes and signing keys
        port = _kept_port(folder / "port") if persistent else free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        self._state = folder / "state"
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
            STATE_DIR=str(self._state),  # signing keys are in it even without persistence
            S3_DATA_DIR=str(folder / "s3"),
            SERVICES=",".join(services),  # empty: all
            LOG_LEVEL="INFO",  # logs starts and saved files, but no requests
            ORIGINS=origins,
            PYTHONPATH=str(ROOT),
            **options,
        )
        super().__init__(
            "ministack",
            [sys.executable, "-Pm", "tools.local_stack.ministack_server" if services == SERVICES else "ministack"],
            env=environment,
            ready=responds(f"{self.url}/_ministack/health"),
            log=log,
            cwd=folder,
            stop_signal=signal.SIGTERM if persistent else signal.SIGKILL,
            stop_seconds=_SAVE_SECONDS,
        )

    def start(self, check: Callable[[], None] = lambda: None) -> None:
        """As for every child. Also raises EngineError for a state file that ministack cannot read."""
        super().start(check)
        log = self.log.read_text(errors="replace") if self.log else ""
        for path in (self._state / name for name in self._versions()):
            if f"Loaded persisted state for {path.stem}" not in log:
                tail = self._tail()
                self.stop_signal = signal.SIGKILL  # a clean stop would replace the file by an empty state
                self.stop()
                raise EngineError(f"ministack cannot read {path}. To begin with new data, remove the file.{tail}")

    def stop_and_save(self, *, has_data: bool) -> None:
        """Stop a persistent ministack. Raises EngineError that names the services whose state it did not save.

        ministack replaces each state file in one step, so an older state stays. `has_data` says that every service
        has a state; else only services with an older state have one.
        """
        before = self._versions()
        self.stop()
        after = self._versions()
        due = _SAVED if has_data else before
        if unsaved := [_SAVED[name] for name in due if after.get(name) == before.get(name)]:
            raise EngineError(
                f"{' and '.join(unsaved)}: the changes since the last stop were not saved; the state of the last stop "
                f"stays in {self._state}. Perhaps the disk is full.{self._tail()}"
            )

    def _versions(self) -> dict[str, tuple[int, int]]:
        """The state files, and for each a value that changes when ministack replaces the file."""
        files = {name: self._state / name for name in _SAVED}
        stats = {name: path.stat() for name, path in files.items() if path.exists()}
        return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def _kept_port(path: Path) -> int:
    """The port of the last start if it is free, else a new one, which the file then keeps."""
    text = path.read_text() if path.exists() else ""
    if text.isdigit() and not is_port_taken(int(text)):
        return int(text)
    port = free_port()
    write_private(path, f"{port}")
    return port
