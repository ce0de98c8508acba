"""Child processes of the local stack: start them, wait until they are ready, watch them, and stop them.

Each child has its own session. The terminal's Ctrl-C does not reach it, so the parent decides what stops first.
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
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Self

LOOPBACK = "127.0.0.1"

_POLL_SECONDS = 0.03
_TAIL_LINES = 12
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class EngineError(Exception):
    """A child did not start, or ended by itself. The message ends with the last lines of its log."""


def bare_environment(**variables: str) -> dict[str, str]:
    """An environment for a child, without the developer's variables, such as AWS_PROFILE, and without `.env`."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {"PYTHON_DOTENV_DISABLED": "1"} | variables


def identity(uid: int | None) -> dict[str, Any]:
    """The arguments of `subprocess` that run a program as another user; empty for None."""
    return {} if uid is None else {"user": uid, "group": pwd.getpwuid(uid).pw_gid, "extra_groups": []}


def free_port() -> int:
    """A free TCP port of loopback, outside the range from which Linux takes ports for outgoing connections."""
    while is_port_taken(port := random.randrange(20_000, 32_768)):  # noqa: S311
        pass
    return port


def is_port_taken(port: int) -> bool:
    """Whether another server listens on this port of loopback. A port in TIME_WAIT is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def responds(url: str, *, accept: Callable[[int], bool] = lambda status: status == 200) -> Callable[[], bool]:
    """A readiness probe: whether a GET of this URL has a response with an accepted status."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this loopback

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


@dataclass(eq=False, repr=False)
class Child:
    """One process that runs from `start` to `stop`, or inside a `with` block; it can start again.

    Start it from the main thread. When that thread ends, even by SIGKILL, Linux sends the child `stop_signal`.
    """

    name: str
    command: Sequence[str | Path]
    _: KW_ONLY
    env: Mapping[str, str]
    ready: Callable[[], bool]
    log: Path | None  # None: the output goes to the terminal
    cwd: Path | None = None
    user: int | None = None  # a uid, for a parent that is root
    stop_signal: signal.Signals = signal.SIGTERM
    start_seconds: float = 30
    stop_seconds: float = 15
    keep_open: tuple[int, ...] = ()  # file descriptors that the child inherits
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        """The process's id between start and stop."""
        return self._process.pid if self._process else None

    def start(self, check: Callable[[], None] = lambda: None) -> None:
        """Start the process and wait until it is ready. Meanwhile call `check`; its exceptions stop the process.

        Raises EngineError if the process ends before it is ready, or is not ready in time.
        """
        deadline = time.monotonic() + self.start_seconds
        try:
            self._process = self._spawn()
            while not self.ready():
                self.raise_if_dead()
                check()
                if time.monotonic() > deadline:
                    raise EngineError(f"{self.name} is not ready after {self.start_seconds:.0f} s{self._tail()}")
                time.sleep(_POLL_SECONDS)
            # If another program has the port, that program responded, and the child has ended.
            self.raise_if_dead()
        except BaseException:
            self.stop()
            raise

    def raise_if_dead(self) -> None:
        """Raise EngineError if the process has ended by itself."""
        if self._process is not None and (status := self._process.poll()) is not None:
            raise EngineError(f"{self.name} ended with status {status}{self._tail()}")

    def stop(self) -> None:
        """End the process with `stop_signal`, or after `stop_seconds` with SIGKILL. Kill the rest of its group."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self.stop_signal)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.stop_seconds)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _tail(self) -> str:
        """The last lines of the log, indented; empty without a log."""
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
                [str(part) for part in self.command],
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                **identity(self.user),
                pass_fds=self.keep_open,
                start_new_session=True,
                umask=0o077,  # no other user reads the data, whatever the mode of the folders above
                preexec_fn=self._die_with_parent if _prctl else None,
            )

    def _die_with_parent(self) -> None:
        _prctl(_PR_SET_PDEATHSIG, int(self.stop_signal))  # type: ignore[misc]
