"""bin/dev as a process that tests start, watch and stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import psutil

from lib.config import ROOT
from tools.local_stack.processes import free_port

SECONDS = 30


class Dev:
    """A bin/dev that runs, and what it has said so far."""

    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.folder = folder
        self._output = folder.with_name(f"output-{uuid.uuid4().hex}")
        self.process = launch(folder, arguments, variables, self._output)
        self.started.append(self.process)

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def description(self) -> dict[str, Any]:
        described: dict[str, Any] = json.loads((self.folder / "stack.json").read_text())
        return described

    def wait_until_up(self) -> None:
        assert eventually((self.folder / "stack.json").exists, or_ended=self.process), self.output

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


def launch(
    folder: Path, arguments: tuple[str, ...], variables: dict[str, str], output: Path
) -> subprocess.Popen[bytes]:
    environment = {"PORT": str(free_port()), "LOCAL_DIR": str(folder), "CRUDDUR_PYTHON": sys.executable, **variables}
    with output.open("wb") as file:
        return subprocess.Popen(
            [ROOT / "bin/dev", *arguments],
            cwd="/",
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def running(folder: Path, **variables: str) -> Iterator[Dev]:
    """A stack that is up; stopped afterwards, if the test did not, with nothing left of it."""
    dev = Dev(folder, **variables)
    dev.started.remove(dev.process)  # it is stopped here
    try:
        dev.wait_until_up()
        yield dev
    finally:
        status = dev.stop()
    assert status in (0, 1), dev.output
    assert processes_of(folder) == []


def once(folder: Path, *command: str, **variables: str) -> tuple[int, str]:
    """The status and the output of `bin/dev --once`."""
    dev = Dev(folder, "--once", "--", *command, **variables)
    status = dev.process.wait(SECONDS)
    return status, dev.output


def eventually(condition: Callable[[], bool], *, or_ended: subprocess.Popen[bytes] | None = None) -> bool:
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline and (or_ended is None or or_ended.poll() is None):
        time.sleep(0.01)
    return condition()


def processes_of(folder: Path) -> list[str]:
    """Processes whose arguments or variables name the folder."""

    def names(process: psutil.Process) -> bool:
        try:
            said = " ".join([*process.cmdline(), *process.environ().values()])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False
        return str(folder) in said or quote(str(folder), safe="") in said

    return [str(each) for each in psutil.process_iter() if each.pid != os.getpid() and names(each)]


def stop_all() -> None:
    """End what is still running: a test that failed takes its stack along, and the next fails for its own reasons."""
    for process in Dev.started:
        process.terminate()
        process.wait(SECONDS)
    Dev.started.clear()


def call(url: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    """The JSON that a GET is answered with, or with a body a POST."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})  # noqa: S310
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
        return json.loads(answer.read())


def authorization(description: dict[str, Any], user: dict[str, str]) -> str:
    """The header of a user who signed in as a front end does, with Cognito's own HTTP call."""
    answer = cognito(
        description,
        "InitiateAuth",
        AuthFlow="USER_PASSWORD_AUTH",
        ClientId=description["cognito"]["client_id"],
        AuthParameters={"USERNAME": user["username"], "PASSWORD": user["password"]},
    )
    return f"Bearer {answer['AuthenticationResult']['AccessToken']}"


def cognito(description: dict[str, Any], operation: str, **body: Any) -> Any:
    """The answer of the stack's Cognito to one of its HTTP calls."""
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"AWSCognitoIdentityProviderService.{operation}",
    }
    return call(description["cognito"]["endpoint"], body, **headers)
