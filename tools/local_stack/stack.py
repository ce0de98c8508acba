"""The local stack as a whole: its folder, its engines, the API, and the two files that tell others where it is.

What the engines are filled with is bin/dev's business, because seeding is a service.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any, Self

from lib.config import ROOT, ApiSettings, Settings, load
from tools.local_stack.cognito import LocalPool
from tools.local_stack.environment import CREDENTIALS, REGION, write_private, write_stack_env
from tools.local_stack.ministack import Ministack
from tools.local_stack.postgres import Postgres
from tools.local_stack.processes import LOOPBACK, Child, EngineError, answers, bare_environment, is_port_taken

DATABASE = "cruddur"
# Not Momento's: what is local has no place in a cache that others share.
_PASSED_ON = {each.name.upper() for each in fields(ApiSettings)} - {"HOST", "SECRET_KEY"} | {
    "DATABASE_POOL_SIZE",
}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """A signal asked for the end before the stack was up."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(number).name}")
        self.status = 128 + number


class Signals:
    """Notes the signals that ask for the end; whoever waits looks here.

    No exception is thrown into running code, so a child can never be lost between its start and its first owner,
    and a second Ctrl-C cannot break off the stopping.
    """

    def __init__(self) -> None:
        self._noted: list[int] = []
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means what it says
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append(number)

    def take(self) -> list[int]:
        """The signals since the last time."""
        taken, self._noted = self._noted, []
        return taken

    def check(self) -> None:
        """Raise Stopped if there was a signal."""
        if self._noted:
            raise Stopped(self._noted[0])


class LocalStack:
    """Engines and API below one folder; a context manager that stops what was started, in the reverse order."""

    def __init__(self, folder: Path, environ: Mapping[str, str], signals: Signals) -> None:
        """Raises SettingsError for a setting that is passed on and malformed."""
        self.folder = folder
        self.postgres: Postgres
        self.ministack: Ministack
        self._lock: int
        self._signals = signals
        self._running = contextlib.ExitStack()
        self._children: list[Child] = []
        self._passed_on = {name: environ[name] for name in _PASSED_ON if environ.get(name)} | {"HOST": LOOPBACK}
        self.port = load(ApiSettings, self._passed_on | {"SECRET_KEY": secrets.token_hex()}).port
        self.api_url = f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        if is_port_taken(self.port):
            raise EngineError(f"port {self.port} is in use: stop what listens there, or choose another with PORT=…")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as entered:
            lock = entered.enter_context((self.folder / "lock").open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EngineError(f"{self.folder} is in use by another ./bin/dev; LOCAL_DIR=… names another") from None
            self._lock = lock.fileno()
            self._withdraw()  # what a killed predecessor left
            self._running = entered.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()

    def start_engines(self) -> None:
        """Postgres and ministack, ready."""
        self.postgres = Postgres(self.folder / "postgres", log=self._log("postgres"))
        self.postgres.keep_open = (self._lock,)  # killed, we leave children that still save: they keep the folder
        self._start(self.postgres)
        self.ministack = Ministack(self.folder / "ministack", log=self._log("ministack"), persistent=True)
        self.ministack.keep_open = (self._lock,)
        self._start(self.ministack)

    def variables(self, pool: LocalPool) -> dict[str, str]:
        """Every setting, also those that have a default: a `.env` must not fill a gap with another system's."""
        endpoint = self.ministack.url
        given = {
            "BACKEND_URL": self.api_url,
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
        settings = load(Settings, given)
        return CREDENTIALS | {each.name.upper(): str(getattr(settings, each.name)) for each in fields(settings)}

    def start_stream_worker(self, variables: Mapping[str, str], *, log_to_file: bool) -> None:
        """What does pattern D in stream mode. Started before the API, it is stopped after it, and before DynamoDB.

        ministack keeps no stream over a stop, so whatever was written by then is done before the worker ends.
        """
        worker = Child(
            "the stream worker",
            [sys.executable, ROOT / "bin/ddb/stream-worker"],
            env=bare_environment(**variables, LOCAL_DIR=str(self.folder), PYTHONPATH=str(ROOT)),
            ready=lambda: True,  # nobody waits for it: what it has not seen yet, it will see
            log=self._log("stream-worker") if log_to_file else None,
            cwd=ROOT,
        )
        self._start(worker)

    def start_api(self, variables: Mapping[str, str], *, log_to_file: bool) -> None:
        """The server with the application, ready. Its log lines go to the terminal unless they are to go to a file."""
        api = Child(
            "the API",
            [sys.executable, ROOT / "serve.py"],
            env=bare_environment(**variables),
            ready=answers(f"{self.api_url}/api/ready"),
            log=self._log("api") if log_to_file else None,
            cwd=ROOT,
        )
        self._start(api)

    def publish(self, variables: Mapping[str, str], users: Sequence[Mapping[str, str]]) -> None:
        """Write `stack.json`, for people and front ends, and `stack.env`; both are gone when the stack stops."""
        description: dict[str, Any] = {
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
        """Raise EngineError when a part has ended by itself."""
        for child in self._children:
            child.raise_if_dead()

    def _start(self, child: Child) -> None:
        self._signals.check()
        child.start(self._signals.check)
        self._children.append(child)
        self._running.callback(child.stop)

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _secret_key(self) -> str:
        path = self.folder / "secret_key"
        if not path.exists() or not path.read_text().strip():
            write_private(path, secrets.token_urlsafe(32))  # kept, so that cursors outlive a restart
        return path.read_text()

    def _withdraw(self) -> None:
        for name in ("stack.json", "stack.env"):
            (self.folder / name).unlink(missing_ok=True)
