"""The page's modules parse, and TypeScript finds no mistake in them; the test needs npm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lib.config import ROOT

pytestmark = pytest.mark.typescript

PACKAGE = ROOT / "tests" / "support" / "typescript" / "package.json"
# It finds unknown names, wrong arguments, unreachable code and unused names. Without types, it is not strict.
CHECKS = "--allowJs --checkJs --noEmit --noUnusedLocals --noUnusedParameters --allowUnreachableCode false"
TARGET = "--target es2022 --module es2022 --lib es2023,dom,dom.iterable,dom.asynciterable"


def test_modules_have_no_mistake_that_a_compiler_finds(engines: Path) -> None:
    folder = engines / "typescript"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(PACKAGE, folder)
    install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True)
    modules = sorted((ROOT / "web").glob("*.js"))
    command = [folder / "node_modules" / ".bin" / "tsc", *CHECKS.split(), *TARGET.split(), *modules]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
