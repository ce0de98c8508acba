"""A TypeScript client with the types that openapi-typescript generates from openapi.yaml; it needs npm.

The client compiles with `tsc --strict`, and calls every operation of the real server.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lib.config import ROOT
from tests.support.api import Api, run_api
from tests.support.api_server import ApiServer
from tests.support.openapi import OPERATIONS
from tools.local_stack.processes import LOOPBACK

pytestmark = pytest.mark.typescript

SOURCES = ROOT / "tests" / "support" / "typescript"
STRICT = ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes"]

api = pytest.fixture(scope="module")(run_api)


def run(folder: Path, *command: str | Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_client_compiles_and_calls_every_operation(api: Api, engines: Path, tmp_path: Path) -> None:
    source = (SOURCES / "client.ts").read_text(encoding="utf-8")
    calls = set(re.findall(r'client\.([A-Z]+)\("([^"]+)"', source))
    assert calls == {(operation["method"], operation["path"]) for operation in OPERATIONS}

    folder = engines / "typescript"
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    run(folder, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
    programs = folder / "node_modules" / ".bin"
    run(folder, programs / "openapi-typescript", ROOT / "openapi.yaml", "--output", "schema.d.ts")
    run(folder, programs / "tsc", *STRICT, "--module", "nodenext", "--lib", "es2022,dom,dom.iterable", "client.ts")

    anna, bert = api.couple()
    token = anna.authorization.removeprefix("Bearer ")
    with ApiServer(tmp_path / "log", **api.server_variables()) as server:
        run(folder, "node", "client.js", f"http://{LOOPBACK}:{server.port}", token, bert.user.handle)
