"""Scripts start in a fresh clone, from any folder, on a machine that has only Python and coreutils."""

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
from tests.support import fresh_machine, scripts


def test_search_path_has_no_other_program() -> None:
    programs = {program.name for program in Path(os.environ["PATH"]).iterdir()}
    assert programs <= {"python3", *fresh_machine.COREUTILS.split()}
    assert {"env", "true", "mkdir"} <= programs
    assert shutil.which("sh") is None


def test_bin_test_passes_arguments_to_pytest() -> None:
    process = scripts.run("test", "-k", "no_other_program", __file__, CRUDDUR_PYTHON=sys.executable)
    assert process.returncode == 0, process.stdout
    assert " 1 passed, " in process.stdout


@pytest.mark.parametrize("name", ["dev", "db/create", "ddb/patterns/get-conversation"])
def test_script_starts_from_any_folder(name: str) -> None:
    process = scripts.run(name, "--help")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"Usage: bin/{name} ")


@pytest.mark.parametrize("name", scripts.names())
def test_script_explains_itself_and_refuses_unknown_options(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [str(ROOT / "bin" / name)])
    script = scripts.load(name)
    assert script(["--help"]) == 0
    help_text = capsys.readouterr().out
    assert re.match(rf"Usage: bin/{name} ", help_text)
    assert "--help" in help_text
    assert len(help_text.split("\n\n")[1]) > 20  # a sentence about its purpose
    assert name == "test" or script(["--no-such-option"]) == 2  # bin/test passes options on to pytest


def test_every_script_starts_through_bin_python() -> None:
    paths = [path for path in (ROOT / "bin").rglob("*") if path.is_file() and os.access(path, os.X_OK)]
    assert {str(path.relative_to(ROOT / "bin")) for path in paths} == {"python", *scripts.names()}


def test_script_on_search_path_keeps_its_arguments_and_imports_nothing_of_the_folder(tmp_path: Path) -> None:
    for package in ("lib", "tools"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise AssertionError")
    process = subprocess.run(
        ["sessions", "two words", "*"],  # noqa: S607 - the search path is under test
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{ROOT}/bin/db:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert "unexpected extra arguments (two words *)" in process.stderr


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone that has no environment yet and requires no package."""
    monkeypatch.delenv("CRUDDUR_PYTHON", raising=False)
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "bin" / "python", tmp_path / "bin")
    (tmp_path / "requirements-runtime.txt").write_text("")
    (tmp_path / "requirements.txt").write_text("-r requirements-runtime.txt\n")
    (tmp_path / "local_module.py").write_text("")
    return tmp_path


@pytest.fixture
def environment(checkout: Path) -> Path:
    """The checkout's environment. It borrows pip from the tests' environment, because a new pip takes seconds."""
    folder = checkout / ".venv"
    venv.create(folder)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def start(checkout: Path, *options: str) -> subprocess.Popen[str]:
    """Start bin/python with a program that imports a module of the checkout and prints its environment."""
    program = "import local_module, sys; print(sys.prefix)"
    return subprocess.Popen(
        [sys.executable, *options, checkout / "bin" / "python", "-c", program],
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit status, the output and the messages. No failure shows a traceback."""
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out.strip(), err


def test_simultaneous_first_starts_install_once_and_later_starts_are_silent(checkout: Path) -> None:
    statuses, outputs, messages = zip(*map(finish, [start(checkout), start(checkout)]), strict=True)
    assert statuses == (0, 0)
    assert outputs == (str(checkout / ".venv"),) * 2
    assert "".join(messages).count("Installing") == 1
    assert finish(start(checkout)) == (0, str(checkout / ".venv"), "")


def test_failed_install_shows_cause_and_next_start_repeats_it(checkout: Path, environment: Path) -> None:
    (checkout / "requirements-runtime.txt").write_text("-r more.txt\n")
    status, out, err = finish(start(checkout))
    assert (status, out) == (1, "")
    assert "more.txt" in err
    assert "could not be installed" in err
    (checkout / "more.txt").touch()
    status, out, err = finish(start(checkout))
    assert (status, out, "Installing" in err) == (0, str(environment), True)


def test_signal_during_install_stops_pip_and_next_start_renews_environment(checkout: Path, environment: Path) -> None:
    half_installed = environment / "half-installed"
    with socket.create_server(("127.0.0.1", 0)) as index:
        index.settimeout(30)
        index_url = f"http://127.0.0.1:{index.getsockname()[1]}/"
        (checkout / "requirements-runtime.txt").write_text(f"--index-url {index_url}\nsome-package\n")
        for number in (signal.SIGTERM, signal.SIGINT):
            process = start(checkout)
            connection, _ = index.accept()  # pip waits for a response from now on
            with connection:
                connection.settimeout(10)
                assert not half_installed.exists()
                process.send_signal(number)
                assert finish(process)[:2] == (128 + number, "")
                while connection.recv(4096):
                    pass  # until pip's side is closed
            half_installed.touch()


def test_named_interpreter_needs_only_its_packages(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUDDUR_PYTHON", sys.executable)
    assert finish(start(checkout)) == (0, sys.prefix, "")
    monkeypatch.setenv("CRUDDUR_PYTHON", "/not/there")
    assert finish(start(checkout)) == (1, "", "cannot start /not/there: No such file or directory\n")
    bare = checkout / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setenv("CRUDDUR_PYTHON", str(bare))
    problem = f"CRUDDUR_PYTHON: {bare} is older than 3.11, or lacks the packages of requirements.txt\n"
    assert finish(start(checkout)) == (1, "", problem)
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("patch", "problem"),
    [
        ("sys.version_info = (3, 10, 4)", "Python 3.11 or later is needed"),
        ("importlib.util.find_spec = lambda name: None", "apt install python3-venv"),
    ],
)
def test_unfit_python_is_reported_in_one_line(checkout: Path, patch: str, problem: str) -> None:
    program = f"import importlib.util, runpy, sys; {patch}; runpy.run_path(sys.argv[1], run_name='__main__')"
    status, _, err = finish(start(checkout, "-c", program))
    assert status == 1
    assert problem in err.splitlines()[-1]
