"""Starts, watches and stops bin/dev as a process, and calls its API and its Cognito."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psutil

from lib.config import ROOT
from tests.support.clocks import PATIENCE_SECONDS, eventually
from tools.local_stack.processes import bare_environment, free_port

# A curl for machines that have none: GET, or POST with -d.
CURL = f"""#!{sys.executable}
import argparse, sys, urllib.request
parser = argparse.ArgumentParser()
parser.add_argument("-s", action="store_true")
parser.add_argument("-H", action="append")
parser.add_argument("-d", type=str.encode)
parser.add_argument("url")
options = parser.parse_args()
headers = dict(header.split(": ", 1) for header in options.H)
with urllib.request.urlopen(urllib.request.Request(options.url, options.d, headers)) as response:
    sys.stdout.buffer.write(response.read())
"""


class Dev:
    """A bin/dev that runs until the end of its `with` block, or ends earlier."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.folder = folder
        self._output = folder.with_name(f"output-{uuid.uuid4().hex}")
        defaults = {"PORT": str(free_port()), "LOCAL_DIR": str(folder), "CRUDDUR_PYTHON": sys.executable}
        with self._output.open("wb") as file:
            self.process = subprocess.Popen(
                [ROOT / "bin/dev", *arguments],
                cwd="/",
                env=os.environ | defaults | variables,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def output(self) -> str:
        """Standard output and standard error so far."""
        return self._output.read_text()

    @property
    def description(self) -> dict[str, Any]:
        description: dict[str, Any] = json.loads((self.folder / "stack.json").read_text())
        return description

    def part(self, word: str) -> psutil.Process:
        """The child process with this word in its command."""
        [part] = [child for child in psutil.Process(self.process.pid).children() if word in " ".join(child.cmdline())]
        return part

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def running(folder: Path, **variables: str) -> Iterator[Dev]:
    """A stack that is up. If it still runs at the end of the block, it must stop cleanly."""
    with Dev(folder, **variables) as dev:
        assert eventually((folder / "stack.json").exists, or_ended=dev.process), dev.output
        yield dev
        assert dev.process.poll() is not None or dev.stop() == 0, dev.output
    assert processes_of(folder) == []


def once(folder: Path, *command: str, **variables: str) -> tuple[int, str]:
    """The status and the output of `bin/dev --once`."""
    with Dev(folder, "--once", "--", *command, **variables) as dev:
        status = dev.process.wait(PATIENCE_SECONDS)
    return status, dev.output


def postgres_data(folder: Path) -> Path:
    """The data of Postgres of the stack in this folder. For root, they may be elsewhere."""
    elsewhere = folder / "postgres/elsewhere"
    return (elsewhere if elsewhere.exists() else folder / "postgres") / "data"


def processes_of(folder: Path) -> list[str]:
    """Processes with the folder in their arguments or variables."""

    def names_folder(process: psutil.Process) -> bool:
        try:
            words = " ".join([*process.cmdline(), *process.environ().values()])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False
        return str(folder) in words or quote(str(folder), safe="") in words

    return [str(process) for process in psutil.process_iter() if process.pid != os.getpid() and names_folder(process)]


def paste(commands: str, folder: Path, **variables: str) -> str:
    """Run commands in a shell with CURL as `curl`, which goes into the folder; return their output."""
    (folder / "curl").write_text(CURL)
    (folder / "curl").chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    process = subprocess.run(
        ["/bin/sh", "-ec", commands],
        cwd=ROOT,
        env=bare_environment(CRUDDUR_PYTHON=sys.executable, **variables) | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout


def call(url: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    """The JSON of the response to a GET, or with a body to a POST."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})  # noqa: S310
    with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
        return json.loads(response.read())


def authorization(description: dict[str, Any], user: dict[str, str], **headers: str) -> str:
    """The header `Authorization` of a user who signs in with Cognito's own HTTP call, as a front end does."""
    response = cognito(
        description,
        "InitiateAuth",
        headers,
        AuthFlow="USER_PASSWORD_AUTH",
        ClientId=description["cognito"]["client_id"],
        AuthParameters={"USERNAME": user["username"], "PASSWORD": user["password"]},
    )
    return f"Bearer {response['AuthenticationResult']['AccessToken']}"


def cognito(description: dict[str, Any], operation: str, headers: Mapping[str, str] | None = None, **body: Any) -> Any:
    """The JSON of the response of the stack's Cognito to one of its HTTP calls."""
    target = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"AWSCognitoIdentityProviderService.{operation}",
    }
    return call(description["cognito"]["endpoint"], body, **target, **(headers or {}))
