"""The scripts in bin/, as tests run them: as processes, or as functions in this one."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any

import click
import pytest

from lib.config import ROOT

Run = Callable[..., tuple[int, list[str], str]]

# bin/dev is beside bin/python, bin/db/create a folder below it, and so on.
LAUNCHER = re.compile(
    r"""#!/usr/bin/env -S /bin/sh -c 'exec "\$\{0%/\*\}/(\.\./)*python" -Pm tools\.cli "\$0" "\$@"'\n"""
)


def names() -> list[str]:
    """Every script that starts through bin/python, such as `db/create`."""
    files = [path for path in (ROOT / "bin").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(str(path.relative_to(ROOT / "bin")) for path in files if LAUNCHER.match(path.read_text()))


@dataclass(frozen=True)
class Script:
    """A script in this process. A call runs it with arguments and gives its exit status."""

    module: Any

    def __call__(self, arguments: Sequence[str]) -> int:
        return exit_status(self.module.main, arguments)


def exit_status(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command as a process would, and give the status that it exits with."""
    with pytest.raises(SystemExit) as exit_:
        command(arguments)
    return int(exit_.value.code or 0)


def load(name: str) -> Script:
    """The script of that name, in a module of its own."""
    loader = SourceFileLoader(name, str(ROOT / "bin" / name))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return Script(module)


def runner(capsys: pytest.CaptureFixture[str], folder: str) -> Run:
    """Runs scripts of a folder of bin/ in this process: exit status, lines of data, status messages."""

    def in_process(name: str, *arguments: str) -> tuple[int, list[str], str]:
        capsys.readouterr()
        status = load(f"{folder}/{name}")(arguments)
        printed = capsys.readouterr()
        return status, [" ".join(line.split()) for line in printed.out.splitlines()], printed.err

    return in_process


def run(name: str, *arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """The script as a process in another folder, with these variables besides the test's own."""
    return subprocess.run(
        [ROOT / "bin" / name, *arguments],
        cwd="/",
        env={**os.environ, **variables},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
