"""bin/dev starts the stack, keeps its data, reports problems in one line, and leaves no process behind."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from lib.config import ROOT
from tests.support import scripts
from tests.support.clocks import PATIENCE_SECONDS, eventually
from tests.support.dev import (
    Dev,
    authorization,
    call,
    cognito,
    once,
    paste,
    postgres_data,
    processes_of,
    running,
)
from tools.local_stack.processes import LOOPBACK, Child, bare_environment, free_port, responds
from tools.seed.conversation import CONVERSATION_UUID

GREETING = "The jump gate is open \N{ROCKET}"

DELENN = {"username": "delenn@example.com", "password": "Minbar-1234"}


@pytest.fixture(scope="module")
def folder(engine_folder: Path) -> Path:
    """The LOCAL_DIR that the tests of this module use one after the other.

    It is not in tmp_path: a second pytest of root closes that to the user of Postgres.
    """
    return engine_folder / "local"


def test_problems_before_start_are_reported_in_one_line_each(folder: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = str(server.getsockname()[1])
        status, output = once(folder, "true", PORT=port)
    assert (status, output.count("\n"), f"port {port} is in use: " in output) == (1, 1, True)
    status, output = once(folder, "true", PORT="http", GROUP_UPDATES="sometimes")
    assert (status, {line.split()[0] for line in output.splitlines()}) == (2, {"PORT", "GROUP_UPDATES"})
    assert once(folder, "no-such-command") == (127, "no-such-command: command not found\n")


def test_failed_start_leaves_no_process(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "ministack").touch()  # in place of a folder, so that ministack fails after the start of Postgres
    status, output = once(folder, "true")
    (folder / "ministack").unlink()
    assert status == 1
    assert "ministack" in output
    assert (postgres_data(folder) / "PG_VERSION").exists()
    assert processes_of(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_start_leaves_no_process(folder: Path, number: signal.Signals) -> None:
    with Dev(folder) as dev:
        assert eventually(lambda: (postgres_data(folder) / "postmaster.pid").exists(), or_ended=dev.process), dev.output
        assert dev.stop(number) == 128 + number, dev.output
    assert processes_of(folder) == []
    assert not (folder / "stack.json").exists()


class User:
    """A signed-in user of a running stack."""

    def __init__(self, dev: Dev, credentials: dict[str, str]) -> None:
        self._api_url = dev.description["api_url"]
        self._headers = {"Authorization": authorization(dev.description, credentials)}

    def send(self, text: str, **receiver: str) -> dict[str, Any]:
        message: dict[str, Any] = call(f"{self._api_url}/api/messages", {"message": text, **receiver}, **self._headers)
        return message

    def inbox(self) -> list[tuple[str, int]]:
        """The last message of each conversation, and its number."""
        rows = call(f"{self._api_url}/api/message_groups", **self._headers)
        return [(row["message"], row["seq"]) for row in rows]

    def messages(self, conversation: str) -> list[str]:
        messages = call(f"{self._api_url}/api/messages/{conversation}", **self._headers)
        return [message["message"] for message in messages]


@dataclass(frozen=True)
class FirstRun:
    """A stack in stream mode that has stopped. DELENN signed up there and has a conversation with the second user."""

    description: dict[str, Any]
    conversation: str
    initdb_time: int


def initdb_time(folder: Path) -> int:
    return (postgres_data(folder) / "PG_VERSION").stat().st_mtime_ns


def sign_up(description: dict[str, Any]) -> None:
    """Create DELENN as a front end does."""
    client = {"ClientId": description["cognito"]["client_id"], "Username": DELENN["username"]}
    values = {"email": DELENN["username"], "preferred_username": "delenn"}
    attributes = [{"Name": name, "Value": value} for name, value in values.items()]
    cognito(description, "SignUp", **client, Password=DELENN["password"], UserAttributes=attributes)
    cognito(description, "ConfirmSignUp", **client, ConfirmationCode="123456")


@pytest.fixture(scope="class")
def first_run(folder: Path) -> FirstRun:
    with running(folder, GROUP_UPDATES="stream") as dev:
        assert "GROUP_UPDATES='stream'" in (folder / "stack.env").read_text()
        assert "Added 44 messages" in dev.output
        description = dev.description
        sign_up(description)
        delenn, other = User(dev, DELENN), User(dev, description["users"][1])
        assert delenn.inbox() == []
        first = delenn.send(GREETING, handle=description["users"][1]["handle"])
        conversation = {"message_group_uuid": first["message_group_uuid"]}
        assert (first["seq"], other.send("two", **conversation)["seq"]) == (1, None)
        assert eventually(lambda: delenn.inbox() == [("two", 2)])
        lines = [json.loads(line) for line in dev.output.splitlines() if line.startswith("{")]
        assert {"request", "group_updated"} <= {line["event"] for line in lines}
        delenn.send("three", **conversation)
        rename = scripts.run(
            "db/rename-user", "londo", "--handle", "mollari", LOCAL_DIR=str(folder), CRUDDUR_PYTHON=sys.executable
        )
        assert (rename.returncode, rename.stdout) == (0, ""), rename.stderr
        assert dev.stop(signal.SIGINT) == 0, dev.output
    assert not list(folder.glob("stack.*"))
    return FirstRun(description, first["message_group_uuid"], initdb_time(folder))


@pytest.fixture(scope="class")
def dev(folder: Path, first_run: FirstRun) -> Iterator[Dev]:
    settings = {"FEED_WINDOW_SECONDS": "11", "FRONTEND_URL": "http://localhost:5173"}
    with running(folder, GROUP_UPDATES="stream", **settings) as dev:
        yield dev


class TestSecondRun:
    """A second start in the folder of a first run; its last test ends it."""

    def test_second_start_creates_and_loads_nothing(self, dev: Dev, first_run: FirstRun) -> None:
        assert initdb_time(dev.folder) == first_run.initdb_time
        assert "Added" not in dev.output
        assert dev.description["cognito"]["user_pool_id"] == first_run.description["cognito"]["user_pool_id"]

    def test_renamed_user_keeps_row_and_sign_in(self, dev: Dev, first_run: FirstRun) -> None:
        before, after = (
            {user["handle"]: user["user_uuid"] for user in stack["users"]}
            for stack in (first_run.description, dev.description)
        )
        assert after == {"mollari" if handle == "londo" else handle: user_uuid for handle, user_uuid in before.items()}
        assert {user["cognito_user_id"] for user in dev.description["users"]} == {
            user["cognito_user_id"] for user in first_run.description["users"]
        }

    def test_second_start_takes_the_same_port(self, dev: Dev, first_run: FirstRun) -> None:
        for name in ("dynamodb_endpoint", "cognito"):
            assert dev.description[name] == first_run.description[name]

    def test_only_pages_of_the_front_end_and_of_the_api_sign_in(self, dev: Dev) -> None:
        credentials = dev.description["users"][0]
        for origin in ("http://localhost:5173", dev.description["api_url"]):
            assert authorization(dev.description, credentials, Origin=origin)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            authorization(dev.description, credentials, Origin="http://localhost:3000")

    def test_page_is_on_and_its_users_sign_in(self, dev: Dev) -> None:
        url = dev.description["api_url"]
        with urllib.request.urlopen(url) as page:  # noqa: S310
            policy = page.headers["Content-Security-Policy"]
        assert f"connect-src 'self' {dev.description['cognito']['endpoint']}/;" in policy
        users = call(f"{url}/api/client-config")["demo_users"]
        assert len(users) == 3
        for user in users:
            assert authorization(dev.description, user, Origin=url)

    def test_other_users_of_the_machine_cannot_read_the_data(self, dev: Dev) -> None:
        readable = [path for path in (dev.folder / "ministack").rglob("*") if path.stat().st_mode & 0o077]
        assert (dev.folder / "ministack").stat().st_mode & 0o777 == 0o700
        assert [path for path in readable if path.parent.name == "state"] == []

    def test_users_and_messages_survive_restart(self, dev: Dev, first_run: FirstRun) -> None:
        search = {
            "UserPoolId": first_run.description["cognito"]["user_pool_id"],
            "Filter": 'preferred_username = "delenn"',
        }
        users = cognito(dev.description, "ListUsers", **search)["Users"]
        assert [attribute["Value"] for user in users for attribute in user["Attributes"]].count(DELENN["username"]) == 1
        delenn, other = User(dev, DELENN), User(dev, dev.description["users"][1])
        for user in (delenn, other):
            assert user.messages(first_run.conversation) == ["three", "two", GREETING]
        # The stop lost the stream, so the worker has read to its end before.
        assert delenn.inbox() == [("three", 3)]
        other.send("four", message_group_uuid=first_run.conversation)
        assert eventually(lambda: delenn.inbox() == [("four", 4)])
        assert "stream_record_skipped" not in dev.output

    def test_stack_describes_itself_to_its_owner_only(self, dev: Dev) -> None:
        description = dev.description
        assert description.keys() == {"api_url", "dynamodb_endpoint", "postgres_url", "cognito", "users"}
        for user in description["users"]:
            assert user.keys() == {"handle", "username", "password", "user_uuid", "cognito_user_id"}
            assert user["cognito_user_id"]
        for name in ("stack.json", "stack.env", "secret_key"):
            assert (dev.folder / name).stat().st_mode & 0o777 == 0o600

    def test_pasted_curl_command_works(self, dev: Dev, tmp_path: Path) -> None:
        assert eventually(lambda: "Ctrl-C stops the local stack" in dev.output)
        [curl] = re.findall(r"^curl .*$", dev.output, re.MULTILINE)
        assert isinstance(json.loads(paste(curl, tmp_path))[0]["message"], str)

    def test_settings_reach_api_and_second_api_beside_it(self, dev: Dev, tmp_path: Path) -> None:
        assert dev.part("serve.py").environ()["FEED_WINDOW_SECONDS"] == "11"
        port = free_port()
        api = Child(
            "an API",
            [sys.executable, ROOT / "serve.py"],
            env=bare_environment(LOCAL_DIR=str(dev.folder), PORT=str(port), WEB_CONCURRENCY="1"),
            ready=responds(f"http://{LOOPBACK}:{port}/api/ready"),
            log=tmp_path / "log",
        )
        with api:
            bearer = authorization(dev.description, dev.description["users"][0])
            url = f"http://localhost:{port}/api/messages/{CONVERSATION_UUID}?limit=1"
            request = urllib.request.Request(url, headers={"Authorization": bearer})  # noqa: S310
            with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
                assert response.headers["Link"].startswith(f"<{url}")

    def test_state_that_ministack_cannot_save_is_named_and_the_older_one_stays(
        self, dev: Dev, first_run: FirstRun
    ) -> None:
        before = (dev.folder / "ministack/state/dynamodb.json").read_bytes()
        User(dev, DELENN).send("lost", message_group_uuid=first_run.conversation)
        dev.part("ministack").rlimit(psutil.RLIMIT_FSIZE, (4096, 4096))  # a write beyond it fails, as on a full disk
        assert dev.stop(signal.SIGINT) == 1
        assert "DynamoDB and Cognito: the changes since the last stop were not saved" in dev.output
        assert (dev.folder / "ministack/state/dynamodb.json").read_bytes() == before


def test_stack_starts_its_stream_worker_before_the_api_and_ends_with_it(folder: Path) -> None:
    with running(folder, GROUP_UPDATES="stream") as dev:
        assert dev.part("stream-worker").create_time() <= dev.part("serve.py").create_time()
        dev.part("stream-worker").kill()
        assert dev.process.wait(PATIENCE_SECONDS) == 1
        assert "the stream worker ended with status -9" in dev.output


def test_killed_stack_keeps_folder_until_ministack_has_saved(folder: Path) -> None:
    with running(folder) as dev:
        engine = dev.part("ministack")
        engine.suspend()
        try:
            dev.stop(signal.SIGKILL)
            with socket.create_server((LOOPBACK, 0)) as server:  # in use, like the port of a stack that runs
                status, output = once(folder, "true", PORT=str(server.getsockname()[1]))
        finally:
            engine.resume()
        assert status == 1
        assert re.fullmatch(r"\S+ is in use by another ./bin/dev[^\n]+\n", output)
        assert eventually(lambda: processes_of(folder) == [])
    status, output = once(folder, sys.executable, "-c", "raise SystemExit(3)")
    assert status == 3, output


def test_once_passes_settings_and_signals_to_its_command(folder: Path) -> None:
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
