"""Child processes of the local stack: started, waited for until they are ready, watched, and stopped.

Each child has a session of its own, so the terminal's Ctrl-C does not reach it and the parent decides what stops first.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

LOOPBACK = "127.0.0.1"

_POLL_SECONDS = 0.03
_TAIL_LINES = 12
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class EngineError(Exception):
    """A child did not start, or died; the message ends with the tail of its log."""


def bare_environment(**variables: str) -> dict[str, str]:
    """An environment for a child that must see nothing of the developer's own: no AWS_PROFILE, no PGHOST, no `.env`."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {"PYTHON_DOTENV_DISABLED": "1"} | variables


def identity(uid: int | None) -> dict[str, Any]:
    """The arguments with which `subprocess` runs a program as another user; none for None."""
    return {} if uid is None else {"user": uid, "group": pwd.getpwuid(uid).pw_gid, "extra_groups": []}


def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on right now.

    It is below those that Linux gives to outgoing connections, one of which could have it before the server does.
    """
    while is_port_taken(port := random.randrange(20_000, 32_768)):  # noqa: S311
        pass
    return port


def is_port_taken(port: int) -> bool:
    """Whether a server could not listen on this port of loopback. A port in TIME_WAIT is free, as it is for servers."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def answers(url: str, *, accept: Callable[[int], bool] = lambda status: status == 200) -> Callable[[], bool]:
    """A readiness probe: whether a GET of this URL is answered with a status that is accepted."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach our loopback

    def probe() -> bool:
        try:
            with direct.open(url, timeout=2) as response:
                return accept(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return accept(error.code)
        except OSError:
            return False

    return probe


class Child:
    """One process that runs between `start` and `stop`, or inside a `with` block; it can be started again.

    Start it from the main thread. When the thread that started it ends, Linux sends it `stop_signal`, so it does not
    outlive a parent that was killed with SIGKILL.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        ready: Callable[[], bool],
        log: Path | None,
        cwd: Path | None = None,
        user: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        start_seconds: float = 30,
        stop_seconds: float = 15,
    ) -> None:
        """`log` None leaves the output on the terminal. `user` is a uid, for a parent that is root."""
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._env = dict(env)
        self._ready = ready
        self._cwd = cwd
        self._user = user
        self._stop_signal = stop_signal
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self.keep_open: tuple[int, ...] = ()  # file descriptors that stay open as long as the child lives
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process's id while it has not been stopped."""
        return self._process.pid if self._process else None

    def start(self, check: Callable[[], None] = lambda: None) -> None:
        """Start it and wait until it is ready. `check` is called meanwhile; what it raises stops the child.

        Raises EngineError when it ends before it is ready, or is not ready in time.
        """
        if self._process is not None:
            raise EngineError(f"{self.name} is running already")
        deadline = time.monotonic() + self._start_seconds
        try:
            self._process = self._spawn()
            while not self._ready():
                self.raise_if_dead()
                check()
                if time.monotonic() > deadline:
                    raise EngineError(f"{self.name} is not ready after {self._start_seconds:.0f} s{self._tail()}")
                time.sleep(_POLL_SECONDS)
            # Another program may have answered on the same port, and the child may have died of that.
            self.raise_if_dead()
        except BaseException:
            self.stop()
            raise

    def raise_if_dead(self) -> None:
        """Raise EngineError, with the tail of the log, when the process has ended by itself."""
        if self._process is not None and (status := self._process.poll()) is not None:
            raise EngineError(f"{self.name} ended with status {status}{self._tail()}")

    def stop(self) -> None:
        """End the process and what is left of its group: politely, then after a grace with SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self._stop_signal)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._stop_seconds)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _tail(self) -> str:
        """The last lines of the log, indented below a message; empty when there are none."""
        if self.log is None or not self.log.exists():
            return ""
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "".join(f"\n  {line}" for line in [f"the last lines of {self.log}:", *lines])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self.log is not None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") if self.log else contextlib.nullcontext() as output:
            return subprocess.Popen(  # noqa: S603 - fixed argument lists
                self._command,
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                **identity(self._user),
                pass_fds=self.keep_open,
                start_new_session=True,
                preexec_fn=self._die_with_parent if _prctl else None,
            )

    def _die_with_parent(self) -> None:
        _prctl(_PR_SET_PDEATHSIG, int(self._stop_signal))  # type: ignore[misc]
