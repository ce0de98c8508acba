"""TypeScript clients with the types that openapi-typescript generates from openapi.yaml; they need npm.

They compile with `tsc --strict` and run against the real server: one calls every operation, the other is the code of
docs/front-end.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.config import ROOT
from tests.support.api import Api, Person, run_api
from tests.support.api_server import ApiServer
from tests.support.documents import FRONT_END, blocks
from tests.support.openapi import OPERATIONS
from tools.local_stack.processes import LOOPBACK

pytestmark = pytest.mark.typescript

SOURCES = ROOT / "tests" / "support" / "typescript"
SECONDS = 180  # for npm and tsc on a slow machine; an open stream would keep node alive
STRICT = ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes"]

Run = Callable[..., None]

api = pytest.fixture(scope="module")(run_api)


def execute(folder: Path, *command: str | Path) -> None:
    environment = os.environ | {"npm_config_audit": "false", "npm_config_ignore_scripts": "true"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr


def set_up(folder: Path, server_url: str) -> None:
    """Run the commands of docs/front-end.md, with pinned versions of the packages."""
    commands = blocks(FRONT_END, "sh")[0].replace("http://127.0.0.1:4567", server_url)
    for package, version in json.loads((SOURCES / "package.json").read_text())["dependencies"].items():
        commands, count = re.subn(rf"(?<= ){package}(?=\s)", f"{package}@{version}", commands)
        assert count, package
    execute(folder, "sh", "-ec", commands)


@pytest.fixture(scope="module")
def run(api: Api, engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Compiles a program of SOURCES, and runs it with the server's URL and the arguments."""
    folder = engines / "front_end"
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    (folder / "package.json").unlink()
    (folder / "messages.ts").write_text("\n".join(blocks(FRONT_END, "ts")), encoding="utf-8")
    with ApiServer(tmp_path_factory.mktemp("server") / "log", **api.server_variables()) as server:
        url = f"http://{LOOPBACK}:{server.port}"
        set_up(folder, url)

        def compile_and_run(name: str, *arguments: str) -> None:
            options = [*STRICT, "--module", "nodenext", "--lib", "es2022,dom,dom.iterable"]
            execute(folder, folder / "node_modules/.bin/tsc", *options, f"{name}.ts")
            execute(folder, "node", f"{name}.js", url, *arguments)

        yield compile_and_run


def token(person: Person) -> str:
    return person.authorization.removeprefix("Bearer ")


def test_client_compiles_and_calls_every_operation(api: Api, run: Run) -> None:
    source = (SOURCES / "client.ts").read_text(encoding="utf-8")
    calls = set(re.findall(r'client\.([A-Z]+)\("([^"]+)"', source))
    assert calls == {(operation["method"], operation["path"]) for operation in OPERATIONS}
    anna, bert = api.couple()
    run("client", token(anna), bert.user.handle)


def test_code_of_the_front_end_page_sends_follows_and_resumes(api: Api, run: Run) -> None:
    anna, bert = api.couple()
    with socket.create_server((LOOPBACK, 0)) as silent:
        run("front_end", token(anna), token(bert), bert.user.handle, f"http://{LOOPBACK}:{silent.getsockname()[1]}")
