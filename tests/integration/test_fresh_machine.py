"""./bin/test, and with it ./bin/dev, needs Python and coreutils, and no other program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lib.config import ROOT
from tests.support import fresh_machine, scripts


def test_the_tests_find_no_other_program() -> None:
    programs = {program.name for program in Path(os.environ["PATH"]).iterdir()}
    assert programs <= {"python3", *fresh_machine.COREUTILS.split()}
    assert {"env", "true", "mkdir"} <= programs
    assert shutil.which("sh") is None


def test_every_stage_of_the_tests_starts() -> None:
    for module in {stage[0] for stage in scripts.load("test").module.EVERYTHING}:
        subprocess.run([sys.executable, "-m", module, "--version"], cwd=ROOT, capture_output=True, check=True)


def test_chosen_tests_run() -> None:
    done = scripts.run("test", "-k", "find_no_other_program", __file__, CRUDDUR_PYTHON=sys.executable)
    assert done.returncode == 0, done.stdout
    assert " 1 passed, " in done.stdout
