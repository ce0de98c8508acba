"""./bin/dev and ./bin/test need Python and coreutils, and no other program."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.config import ROOT
from tests.support import fresh_machine, scripts
from tests.support.dev import once


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The search path of everything that a test of this module starts."""
    path = fresh_machine.search_path(tmp_path / "path")
    monkeypatch.setenv("PATH", path)
    return path


def test_search_path_has_no_other_program(path: str) -> None:
    assert {program.name for program in Path(path).iterdir()} <= {"python3", *fresh_machine.COREUTILS.split()}
    assert {"env", "true", "mkdir"} <= {program.name for program in Path(path).iterdir()}
    assert shutil.which("sh") is None


def test_dev_runs_the_whole_stack(tmp_path: Path) -> None:
    status, output = once(tmp_path / "local", "true")
    assert status == 0, output


def test_every_stage_of_the_tests_starts() -> None:
    for module in {stage[0] for stage in scripts.load("test").__globals__["EVERYTHING"]}:
        subprocess.run([sys.executable, "-m", module, "--version"], cwd=ROOT, capture_output=True, check=True)


def test_tests_run_on_their_engines() -> None:
    chosen = "test_connect_opens_psql or test_a_new_table_removes_what_has_expired"
    files = ["tests/integration/test_bin_db.py", "tests/integration/test_schema.py"]
    done = scripts.run("test", "-k", chosen, *files, CRUDDUR_PYTHON=sys.executable)
    assert done.returncode == 0, done.stdout
    assert " 2 passed, " in done.stdout
