"""bin/dev starts the stack, keeps its data, reports problems in one line, and leaves no process behind."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lib.config import ROOT
from tests.support.dev import Dev, authorization, call, cognito, eventually, once, paste, processes_of, running
from tools.local_stack.processes import LOOPBACK, Child, answers, bare_environment, free_port

GREETING = "The jump gate is open \N{ROCKET}"
DELENN = {"username": "delenn@example.com", "password": "Minbar-1234"}


@pytest.fixture(scope="module")
def folder(engine_folder: Path) -> Path:
    """The LOCAL_DIR that the tests of this module use one after the other.

    It is not in tmp_path: a second pytest of root closes that to the user of Postgres.
    """
    return engine_folder / "local"


def test_port_in_use_is_reported_in_one_line(folder: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = str(server.getsockname()[1])
        status, output = once(folder, "true", PORT=port)
    assert status == 1
    assert re.fullmatch(f"port {port} is in use: [^\n]+\n", output)


def test_malformed_settings_and_missing_command_are_reported(folder: Path) -> None:
    status, output = once(folder, "true", PORT="http", GROUP_UPDATES="sometimes")
    assert status == 2
    assert {line.split()[0] for line in output.splitlines()} == {"PORT", "GROUP_UPDATES"}
    assert once(folder, "no-such-command") == (127, "no-such-command: command not found\n")


def test_failed_start_leaves_no_process(folder: Path) -> None:
    folder.mkdir()
    (folder / "ministack").touch()  # in place of a folder, so that ministack fails after the start of Postgres
    status, output = once(folder, "true")
    (folder / "ministack").unlink()
    assert status == 1
    assert "ministack" in output
    assert (folder / "postgres/data/PG_VERSION").exists()
    assert processes_of(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_start_leaves_no_process(folder: Path, number: signal.Signals) -> None:
    with Dev(folder) as dev:
        assert eventually((folder / "postgres/data/postmaster.pid").exists, or_ended=dev.process), dev.output
        assert dev.stop(number) == 128 + number, dev.output
    assert processes_of(folder) == []
    assert not (folder / "stack.json").exists()


@dataclass(frozen=True)
class FirstRun:
    """A stack that has stopped. DELENN signed up and sent GREETING in a conversation."""

    description: dict[str, Any]
    conversation: str
    initdb_time: int


def initdb_time(folder: Path) -> int:
    return (folder / "postgres/data/PG_VERSION").stat().st_mtime_ns


@pytest.fixture(scope="class")
def first_run(folder: Path) -> FirstRun:
    with running(folder) as dev:
        description, api_url = dev.description, dev.description["api_url"]
        client = {"ClientId": description["cognito"]["client_id"], "Username": DELENN["username"]}
        values = {"email": DELENN["username"], "preferred_username": "delenn"}
        attributes = [{"Name": name, "Value": value} for name, value in values.items()]
        cognito(description, "SignUp", **client, Password=DELENN["password"], UserAttributes=attributes)
        cognito(description, "ConfirmSignUp", **client, ConfirmationCode="123456")
        bearer = authorization(description, DELENN)
        assert call(f"{api_url}/api/message_groups", Authorization=bearer) == []
        message = {"message": GREETING, "handle": description["users"][1]["handle"]}
        sent = call(f"{api_url}/api/messages", message, Authorization=bearer)
        assert "Added 44 messages" in dev.output
        assert dev.stop(signal.SIGINT) == 0
    assert not list(folder.glob("stack.*"))
    return FirstRun(description, sent["message_group_uuid"], initdb_time(folder))


@pytest.fixture(scope="class")
def dev(folder: Path, first_run: FirstRun) -> Iterator[Dev]:
    with running(folder, FEED_WINDOW_SECONDS="11") as dev:
        yield dev


class TestSecondRun:
    """A second start in the folder of a first run; its last test kills it."""

    def test_second_start_creates_and_loads_nothing(self, dev: Dev, first_run: FirstRun) -> None:
        assert initdb_time(dev.folder) == first_run.initdb_time
        assert "Added" not in dev.output
        assert dev.description["cognito"]["user_pool_id"] == first_run.description["cognito"]["user_pool_id"]
        assert dev.description["users"] == first_run.description["users"]

    def test_users_and_messages_survive_restart(self, dev: Dev, first_run: FirstRun) -> None:
        description = dev.description
        search = {"UserPoolId": description["cognito"]["user_pool_id"], "Filter": 'preferred_username = "delenn"'}
        assert [user["Username"] for user in cognito(description, "ListUsers", **search)["Users"]] == [
            DELENN["username"]
        ]
        for user in (DELENN, description["users"][1]):
            url = f"{description['api_url']}/api/messages/{first_run.conversation}"
            messages = call(url, Authorization=authorization(description, user))
            assert [message["message"] for message in messages] == [GREETING]

    def test_stack_describes_itself_to_its_owner_only(self, dev: Dev) -> None:
        description = dev.description
        assert description.keys() == {"api_url", "dynamodb_endpoint", "postgres_url", "cognito", "users"}
        for user in description["users"]:
            assert user.keys() == {"handle", "username", "password", "user_uuid", "cognito_user_id"}
            assert user["cognito_user_id"]
        for name in ("stack.json", "stack.env", "secret_key"):
            assert (dev.folder / name).stat().st_mode & 0o777 == 0o600

    def test_printed_curl_command_works_as_pasted(self, dev: Dev, tmp_path: Path) -> None:
        assert eventually(lambda: "Ctrl-C stops everything" in dev.output)
        [curl] = re.findall(r"^curl .*$", dev.output, re.MULTILINE)
        assert isinstance(json.loads(paste(curl, tmp_path))[0]["message"], str)

    def test_second_stack_in_same_folder_is_refused(self, dev: Dev) -> None:
        status, output = once(dev.folder, "true")
        assert status == 1
        assert re.fullmatch(r"\S+ is in use by another ./bin/dev[^\n]+\n", output)

    def test_settings_reach_api(self, dev: Dev) -> None:
        assert dev.part("serve.py").environ()["FEED_WINDOW_SECONDS"] == "11"

    def test_second_api_has_settings_of_stack_and_its_own_port(self, dev: Dev, tmp_path: Path) -> None:
        port = free_port()
        api = Child(
            "an API",
            [sys.executable, ROOT / "serve.py"],
            env=bare_environment(LOCAL_DIR=str(dev.folder), PORT=str(port), WEB_CONCURRENCY="1"),
            ready=answers(f"http://{LOOPBACK}:{port}/api/ready"),
            log=tmp_path / "log",
        )
        with api:
            bearer = authorization(dev.description, dev.description["users"][0])
            assert call(f"http://{LOOPBACK}:{port}/api/message_groups", Authorization=bearer)

    def test_killed_stack_keeps_folder_until_ministack_has_saved(self, dev: Dev) -> None:
        engine = dev.part("ministack")
        engine.suspend()
        try:
            dev.stop(signal.SIGKILL)
            status, output = once(dev.folder, "true")
        finally:
            engine.resume()
        assert (status, "in use by another ./bin/dev" in output) == (1, True)
        assert eventually(lambda: processes_of(dev.folder) == [])
        status, output = once(dev.folder, sys.executable, "-c", "raise SystemExit(3)")
        assert status == 3, output


def test_once_gives_settings_and_signals_to_command(folder: Path) -> None:
    program = """
import json, os, signal, urllib.request
ready = urllib.request.urlopen(os.environ["API_URL"] + "/api/ready").status
print(json.dumps([dict(os.environ), ready]), flush=True)
signal.pause()
"""
    other = {"AWS_PROFILE": "production", "AWS_ENDPOINT_URL": "https://example.com", "DATABASE_URL": "postgresql://x/y"}
    with Dev(folder, "--once", "--", sys.executable, "-c", program, MY_OWN="kept", **other) as dev:
        assert eventually(lambda: dev.output.endswith("200]\n"), or_ended=dev.process), dev.output
        assert dev.stop(signal.SIGTERM) == 128 + signal.SIGTERM
    *_, ignored, line = dev.output.splitlines()
    environment, _ = json.loads(line)
    assert ignored == "Ignored: DATABASE_URL. The local stack chooses these settings itself."
    assert environment["MY_OWN"] == "kept"
    assert environment["LOCAL_DIR"] == str(folder)
    assert "example.com" not in str(environment)
    assert "AWS_PROFILE" not in environment
    assert quote(str(folder), safe="") in environment["DATABASE_URL"]
    assert environment["AWS_ENDPOINT_URL_DYNAMODB"].startswith(f"http://{LOOPBACK}:")
    assert processes_of(folder) == []
