"""Scripts run from a fresh clone, from any folder, without activating anything."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from lib.config import ROOT
from tests.support import scripts

HERE = str(ROOT / "bin")


@pytest.mark.parametrize("name", ["dev", "db/create", "ddb/patterns/get-conversation"])
def test_a_script_starts_from_another_folder(name: str) -> None:
    done = scripts.run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: bin/{name} ")


@pytest.mark.parametrize("name", scripts.names())
def test_a_script_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [str(ROOT / "bin" / name)])
    assert scripts.load(name)(["--help"]) == 0
    help_text = capsys.readouterr().out
    assert re.match(rf"Usage: bin/{name} ", help_text)
    assert "--help" in help_text
    assert len(help_text.split("\n\n")[1]) > 20  # what it does, in a sentence


@pytest.mark.parametrize("name", [name for name in scripts.names() if name != "test"])
def test_a_script_refuses_words_it_does_not_know(name: str) -> None:
    assert scripts.load(name)(["--no-such-option"]) == 2


def test_every_script_starts_through_the_launcher() -> None:
    executable = {
        str(path.relative_to(ROOT / "bin"))
        for path in (ROOT / "bin").rglob("*")
        if path.is_file() and os.access(path, os.X_OK)
    }
    assert executable == {"python", *scripts.names()}


def test_a_script_found_by_the_search_path_keeps_its_arguments() -> None:
    done = subprocess.run(
        ["create", "two words", "*"],  # noqa: S607 - the search path is what is tested
        cwd="/",
        env={**os.environ, "PATH": f"{HERE}/db:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "unexpected extra arguments (two words *)" in done.stderr


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in which nothing is installed yet, and which needs no package."""
    monkeypatch.delenv("CRUDDUR_PYTHON", raising=False)
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "bin" / "python", tmp_path / "bin")
    (tmp_path / "requirements-runtime.txt").write_text("")
    (tmp_path / "requirements.txt").write_text("-r requirements-runtime.txt\n")
    (tmp_path / "proof.py").write_text("")
    return tmp_path


@pytest.fixture
def environment(checkout: Path) -> Path:
    """The checkout's environment, which borrows pip from the one of the tests: to install pip takes seconds."""
    folder = checkout / ".venv"
    venv.create(folder)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def start(checkout: Path, *, program: str = "import proof, sys; print(sys.prefix)") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, checkout / "bin" / "python", "-c", program],
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.strip(), err


def test_two_first_starts_at_once_install_once_and_later_ones_are_silent(checkout: Path) -> None:
    both = [finish(each) for each in (start(checkout), start(checkout))]
    assert [each[:2] for each in both] == [(0, str(checkout / ".venv"))] * 2
    assert "".join(each[2] for each in both).count("Installing") == 1
    assert finish(start(checkout)) == (0, str(checkout / ".venv"), "")


def test_a_failed_install_shows_why_and_is_tried_again(checkout: Path, environment: Path) -> None:
    (checkout / "requirements-runtime.txt").write_text("-r more.txt\n")
    status, out, err = finish(start(checkout))
    assert (status, out) == (1, "")
    assert "more.txt" in err
    assert "could not be installed" in err
    assert "Traceback" not in err
    (checkout / "more.txt").touch()
    status, out, err = finish(start(checkout))
    assert (status, out, "Installing" in err) == (0, str(environment), True)


def test_a_stop_during_the_install_stops_pip_and_what_is_half_made_is_made_anew(
    checkout: Path, environment: Path
) -> None:
    half_made = environment / "half-made"
    with socket.create_server(("127.0.0.1", 0)) as index:
        index.settimeout(30)
        index_url = f"http://127.0.0.1:{index.getsockname()[1]}/"
        (checkout / "requirements-runtime.txt").write_text(f"--index-url {index_url}\nsome-package\n")
        for stop in (signal.SIGTERM, signal.SIGINT):
            process = start(checkout)
            asking, _ = index.accept()  # pip waits for an answer from now on
            with asking:
                asking.settimeout(10)
                assert not half_made.exists()
                process.send_signal(stop)
                status, out, err = finish(process)
                assert (status, out) == (128 + stop, "")
                assert "Traceback" not in err
                while asking.recv(4096):
                    pass  # reads to the end: pip's side is closed
            half_made.touch()


def test_an_interpreter_that_is_named_is_used_as_it_is(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUDDUR_PYTHON", sys.executable)
    assert finish(start(checkout)) == (0, sys.prefix, "")
    monkeypatch.setenv("CRUDDUR_PYTHON", "/not/there")
    status, _, err = finish(start(checkout))
    assert status == 1
    assert err == "cannot start /not/there: No such file or directory\n"
    bare = checkout / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setenv("CRUDDUR_PYTHON", str(bare))
    lacking = f"CRUDDUR_PYTHON: {bare} is older than 3.11, or lacks the packages of requirements.txt\n"
    assert finish(start(checkout)) == (1, "", lacking)
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("pretence", "shown"),
    [
        ("sys.version_info = (3, 10, 4)", "Python 3.11 or later is needed"),
        ("importlib.util.find_spec = lambda name: None", "apt install python3-venv"),
    ],
)
def test_a_python_that_will_not_do_is_told_in_a_line(checkout: Path, pretence: str, shown: str) -> None:
    program = f"import importlib.util, runpy, sys; {pretence}; runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program, checkout / "bin" / "python"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert shown in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
