"""The local stack as a whole: its folder, the engines, the API, and the two files with its settings."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Self

from lib.config import ROOT, ApiSettings, Settings, declarations, load
from tools.local_stack.cognito import LocalPool
from tools.local_stack.environment import REGION, variables_of, write_private, write_stack_env
from tools.local_stack.ministack import Ministack
from tools.local_stack.postgres import Postgres
from tools.local_stack.processes import LOOPBACK, Child, EngineError, bare_environment, is_port_taken, responds

DATABASE = "cruddur"
# The settings of Momento stay out: local users do not belong in a shared cache.
_OWN = {"HOST", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}
_PASSED_ON = declarations(ApiSettings).keys() - _OWN | {"DATABASE_POOL_SIZE"}


class Signals:
    """Collects the signals that stop the stack, for code that waits.

    No signal raises an exception in running code. So each child that starts also stops, and a second Ctrl-C does not
    interrupt the stop.
    """

    def __init__(self) -> None:
        self._received: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received.append(number)

    def take(self) -> list[int]:
        """The signals since the last call."""
        taken, self._received = self._received, []
        return taken

    def check(self) -> None:
        """Exit with a shell's status for the first signal, if there was one."""
        if self._received:
            number = self._received[0]
            sys.stderr.write(f"Stopped by {signal.Signals(number).name}\n")
            raise SystemExit(128 + number)


class LocalStack:
    """Engines and API with files below one folder. As a context manager it stops its processes in reverse order."""

    def __init__(self, folder: Path, environ: Mapping[str, str], signals: Signals, *, log_to_files: bool) -> None:
        """`environ` is the developer's environment. `log_to_files` keeps the API's log off the terminal.

        Raises SettingsError if a setting that the API takes from `environ` is malformed.
        """
        self.folder = folder
        self.postgres: Postgres
        self.ministack: Ministack
        self.variables: dict[str, str]
        self._lock: int
        self._environ = environ
        self._signals = signals
        self._log_to_files = log_to_files
        self._running = contextlib.ExitStack()
        self._is_filled = False
        self._children: list[Child] = []
        self._passed_on = {name: environ[name] for name in _PASSED_ON if environ.get(name)} | {"HOST": LOOPBACK}
        settings = load(ApiSettings, self._passed_on | {"SECRET_KEY": secrets.token_hex()})
        self.port = settings.port
        self.api_url = f"http://{LOOPBACK}:{self.port}"
        self._origins = ",".join([*settings.origins, self.api_url])

    def __enter__(self) -> Self:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
        self._running.callback(os.close, self._lock)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = f"{self.folder} is in use by another ./bin/dev: a second stack needs its own LOCAL_DIR and PORT"
            raise EngineError(problem) from None
        if is_port_taken(self.port):
            raise EngineError(f"port {self.port} is in use: stop that program, or choose another port with PORT=…")
        self._withdraw()  # a stack that was killed leaves its files
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Stop all parts. Raises EngineError if ministack did not save its state."""
        try:
            self._running.close()
        except EngineError as unsaved:
            raise EngineError(f"{error}\n{unsaved}" if isinstance(error, Exception) else f"{unsaved}") from error

    def start_engines(self) -> None:
        """Start Postgres and ministack, and wait until they are ready."""
        self.postgres = Postgres(self.folder / "postgres", log=self._log("postgres"))
        self._start(self.postgres)
        self.ministack = Ministack(
            self.folder / "ministack", log=self._log("ministack"), persistent=True, origins=self._origins
        )
        self._start(self.ministack, stop=lambda: self.ministack.stop_and_save(has_data=self._is_filled))

    def configure(self, pool: LocalPool) -> list[str]:
        """Set `variables` to all settings; return the names of settings in the environment that the stack ignores."""
        endpoint = self.ministack.url
        chosen = {
            "BACKEND_URL": self.api_url,
            "WEB_CLIENT": "on",
            **self._passed_on,
            "DATABASE_URL": self.postgres.url(DATABASE),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
            "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": endpoint,
            "AWS_COGNITO_USER_POOL_ID": pool.user_pool_id,
            "AWS_COGNITO_USER_POOL_CLIENT_ID": pool.client_id,
            "COGNITO_JWKS_URL": f"{endpoint}/{pool.user_pool_id}/.well-known/jwks.json",
            "SECRET_KEY": self._secret_key(),
        }
        self.variables = variables_of(load(Settings, chosen))
        fixed = declarations(Settings).keys() - _PASSED_ON
        return sorted(name for name in fixed if self._environ.get(name) not in (None, "", self.variables[name]))

    def start_api(self) -> None:
        """Start the API and wait until it is ready; in stream mode, start the stream worker first.

        The worker then stops after the API and before ministack. It reads to the end of the stream, because ministack
        does not save the stream.
        """
        if self.variables["GROUP_UPDATES"] == "stream":
            command = ["-Pm", "tools.cli", "bin/ddb/stream-worker"]
            self._start_python("the stream worker", command, ready=lambda: True, log="stream-worker", stop_seconds=120)
        self._start_python("the API", ["serve.py"], ready=responds(f"{self.api_url}/api/ready"), log="api")

    def publish(self, users: Sequence[Mapping[str, str]]) -> None:
        """Write `stack.json`, for people and front ends, and `stack.env`; remove both when the stack stops."""
        self._is_filled = True
        variables = self.variables
        description = {
            "api_url": self.api_url,
            "dynamodb_endpoint": variables["AWS_ENDPOINT_URL_DYNAMODB"],
            "postgres_url": variables["DATABASE_URL"],
            "cognito": {
                "endpoint": variables["AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"],
                "user_pool_id": variables["AWS_COGNITO_USER_POOL_ID"],
                "client_id": variables["AWS_COGNITO_USER_POOL_CLIENT_ID"],
                "jwks_url": variables["COGNITO_JWKS_URL"],
            },
            "users": users,
        }
        self._running.callback(self._withdraw)
        write_stack_env(self.folder, variables)
        write_private(self.folder / "stack.json", json.dumps(description, indent=2) + "\n")

    def raise_if_dead(self) -> None:
        """Raise EngineError if a part has ended by itself."""
        for child in self._children:
            child.raise_if_dead()

    def _start(self, child: Child, stop: Callable[[], None] | None = None) -> None:
        self._signals.check()
        child.keep_open = (self._lock,)  # an engine that saves its data after a kill of this process keeps the lock
        child.start(self._signals.check)
        self._children.append(child)
        self._running.callback(stop or child.stop)

    def _start_python(
        self, name: str, command: list[str], *, ready: Callable[[], bool], log: str, stop_seconds: float = 15
    ) -> None:
        path = self._log(log) if self._log_to_files else None
        environment = bare_environment(**self.variables, LOCAL_DIR=str(self.folder), PYTHONPATH=str(ROOT))
        program = [sys.executable, *command]
        self._start(Child(name, program, env=environment, ready=ready, log=path, cwd=ROOT, stop_seconds=stop_seconds))

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _secret_key(self) -> str:
        path = self.folder / "secret_key"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32))  # the same at every start, so that cursors stay valid
        return path.read_text()

    def _withdraw(self) -> None:
        for name in ("stack.json", "stack.env"):
            (self.folder / name).unlink(missing_ok=True)
