"""Environments of their own for tools that ./bin/test does not need, in the local stack's folder."""

import subprocess
import venv
from pathlib import Path

from lib.config import ROOT, local_dir
from tools.cli import console


def environment(name: str) -> Path:
    """The folder of a virtual environment with the packages of `requirements-<name>.txt`. Installs them if needed."""
    folder = local_dir() / name
    pip = folder / "bin" / "pip"
    if not pip.exists():
        console.print_status(f"Installing the packages of requirements-{name}.txt into {folder} …")
        venv.create(folder, with_pip=True)
    install = [str(pip), "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*install, "--requirement", str(ROOT / f"requirements-{name}.txt")], check=True)  # noqa: S603
    return folder
