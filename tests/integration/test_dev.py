"""bin/dev as people use it: it starts, keeps its data, tells what is wrong in a line, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from lib.config import ROOT
from tests.support.dev import Dev, authorization, call, cognito, eventually, once, processes_of, running, stop_all
from tools.local_stack.processes import LOOPBACK, Child, answers, bare_environment, free_port

GREETING = "The jump gate is open \N{ROCKET}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The LOCAL_DIR that the tests of this module use one after the other."""
    return tmp_path_factory.mktemp("stack") / "local"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    yield
    stop_all()


def test_a_taken_port_is_said_in_one_line(folder: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as listening:
        port = str(listening.getsockname()[1])
        status, output = once(folder, "true", PORT=port)
    assert status == 1
    assert re.fullmatch(f"port {port} is in use: [^\n]+\n", output)


def test_malformed_options_are_named(folder: Path) -> None:
    status, output = once(folder, "true", PORT="http", GROUP_UPDATES="sometimes")
    assert status == 2
    assert {line.split()[0] for line in output.splitlines()} == {"PORT", "GROUP_UPDATES"}


def test_a_start_that_fails_halfway_leaves_no_child(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "ministack").touch()  # where a folder has to be: Postgres runs already when that is found out
    status, output = once(folder, "true")
    (folder / "ministack").unlink()
    assert status == 1
    assert "ministack" in output
    assert (folder / "postgres/data/PG_VERSION").exists()
    assert processes_of(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_start_that_is_interrupted_halfway_leaves_no_child(folder: Path, number: signal.Signals) -> None:
    dev = Dev(folder)
    assert eventually((folder / "postgres/data/postmaster.pid").exists, or_ended=dev.process), dev.output
    assert dev.stop(number) == 128 + number, dev.output
    assert processes_of(folder) == []
    assert not (folder / "stack.json").exists()


def test_messages_and_users_survive_a_stop_and_the_second_start_is_quick(folder: Path) -> None:
    username, password = "delenn@example.com", "Minbar-1234"
    attributes = {"email": username, "preferred_username": "delenn"}
    with running(folder) as dev:
        first = dev.description
        client = {"ClientId": first["cognito"]["client_id"], "Username": username}
        given = [{"Name": name, "Value": value} for name, value in attributes.items()]
        cognito(first, "SignUp", **client, Password=password, UserAttributes=given)
        cognito(first, "ConfirmSignUp", **client, ConfirmationCode="123456")
        bearer = authorization(first, {"username": username, "password": password})
        assert call(f"{first['api_url']}/api/message_groups", Authorization=bearer) == []
        sent = call(
            f"{first['api_url']}/api/messages",
            {"message": GREETING, "handle": first["users"][1]["handle"]},
            Authorization=bearer,
        )
        assert dev.stop(signal.SIGINT) == 0
        assert not list(folder.glob("stack.*"))

    began = time.monotonic()
    with running(folder) as dev:
        assert time.monotonic() - began < 6
        second = dev.description
        assert second["users"] == first["users"]
        assert second["cognito"]["user_pool_id"] == first["cognito"]["user_pool_id"]
        search = {"UserPoolId": second["cognito"]["user_pool_id"], "Filter": 'preferred_username = "delenn"'}
        [found] = cognito(second, "ListUsers", **search)["Users"]
        assert found["Username"] == username
        for user in ({"username": username, "password": password}, second["users"][1]):
            messages = call(
                f"{second['api_url']}/api/messages/{sent['message_group_uuid']}",
                Authorization=authorization(second, user),
            )
            assert [message["message"] for message in messages] == [GREETING]


@pytest.fixture(scope="class")
def dev(folder: Path) -> Iterator[Dev]:
    with running(folder, FEED_WINDOW_SECONDS="11") as dev:
        yield dev


class TestRunningStack:
    """What a stack that runs tells and takes; its folder is the module's."""

    def test_it_describes_itself_to_its_owner_alone(self, dev: Dev) -> None:
        described = dev.description
        assert described.keys() == {"api_url", "dynamodb_endpoint", "postgres_url", "cognito", "users"}
        for user in described["users"]:
            assert user.keys() == {"handle", "username", "password", "user_uuid", "cognito_user_id"}
            assert user["cognito_user_id"]
        for name in ("stack.json", "stack.env", "secret_key"):
            assert (dev.folder / name).stat().st_mode & 0o777 == 0o600

    def test_its_curl_line_works_as_pasted(self, dev: Dev, tmp_path: Path) -> None:
        assert eventually(lambda: "Ctrl-C stops everything" in dev.output)
        (curl,) = re.findall(r"^curl .*$", dev.output, re.MULTILINE)
        # The shell makes the words; a `curl` that shows them stands in for a program that not every machine has.
        (tmp_path / "curl").write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
        (tmp_path / "curl").chmod(0o755)
        pasted = subprocess.run(
            ["/bin/sh", "-c", curl],
            cwd="/",
            env=bare_environment(CRUDDUR_PYTHON=sys.executable, PATH=f"{tmp_path}:{os.environ['PATH']}"),
            capture_output=True,
            text=True,
            check=True,
        )
        silent, option, header, url = json.loads(pasted.stdout)
        assert (silent, option) == ("-s", "-H")
        name, _, value = header.partition(": ")
        assert isinstance(call(url, **{name: value})[0]["message"], str)

    def test_its_folder_is_not_shared(self, dev: Dev) -> None:
        status, output = once(dev.folder, "true")
        assert status == 1
        assert re.fullmatch(r"\S+ is in use by another ./bin/dev[^\n]+\n", output)

    def test_settings_reach_the_api(self, dev: Dev) -> None:
        (api,) = [part for part in psutil.Process(dev.process.pid).children() if "serve.py" in " ".join(part.cmdline())]
        assert b"FEED_WINDOW_SECONDS=11" in Path(f"/proc/{api.pid}/environ").read_bytes()

    def test_a_second_api_beside_it_has_its_stack_and_its_own_port(self, dev: Dev, tmp_path: Path) -> None:
        port = free_port()
        beside = Child(
            "an API",
            [sys.executable, ROOT / "serve.py"],
            env=bare_environment(LOCAL_DIR=str(dev.folder), PORT=str(port), WEB_CONCURRENCY="1"),
            ready=answers(f"http://{LOOPBACK}:{port}/api/ready"),
            log=tmp_path / "log",
        )
        with beside:
            bearer = authorization(dev.description, dev.description["users"][0])
            assert call(f"http://{LOOPBACK}:{port}/api/message_groups", Authorization=bearer)


def _environment_of_the_api(dev: Dev) -> bytes:
    (api,) = [each for each in psutil.Process(dev.process.pid).children() if "serve.py" in " ".join(each.cmdline())]
    return Path(f"/proc/{api.pid}/environ").read_bytes()


def test_a_killed_stack_takes_its_children_along_and_keeps_its_folder_until_they_have_saved(folder: Path) -> None:
    dev = Dev(folder)
    dev.wait_until_up()
    [engine] = [each for each in psutil.Process(dev.process.pid).children() if "ministack" in each.cmdline()]
    engine.suspend()
    try:
        dev.stop(signal.SIGKILL)
        status, said = once(folder, "true")
    finally:
        engine.resume()
    assert (status, "in use by another ./bin/dev" in said) == (1, True)
    assert eventually(lambda: processes_of(folder) == [])
    status, output = once(folder, "no-such-command")  # it starts again, and says that this is not there
    assert status == 127, output
    assert "no-such-command" in output.splitlines()[-1]


def test_once_gives_the_commands_status_and_the_stacks_variables(folder: Path) -> None:
    program = """
import json, os, urllib.request
print(json.dumps([dict(os.environ), urllib.request.urlopen(os.environ["API_URL"] + "/api/ready").status]))
raise SystemExit(3)
"""
    mine = {"AWS_PROFILE": "production", "AWS_ENDPOINT_URL": "https://example.com", "DATABASE_URL": "postgresql://x/y"}
    status, output = once(folder, sys.executable, "-c", program, MY_OWN="kept", **mine)
    assert status == 3
    environment, ready = json.loads(output.splitlines()[-1])
    assert ready == 200
    assert "Ignored: DATABASE_URL. The local stack chooses these settings itself." in output.splitlines()
    assert environment["MY_OWN"] == "kept"
    assert environment["LOCAL_DIR"] == str(folder)
    assert "example.com" not in str(environment)
    assert "AWS_PROFILE" not in environment
    assert quote(str(folder), safe="") in environment["DATABASE_URL"]
    assert environment["AWS_ENDPOINT_URL_DYNAMODB"].startswith(f"http://{LOOPBACK}:")
    assert processes_of(folder) == []


def test_once_passes_a_signal_on_and_gives_the_status_of_a_shell(folder: Path) -> None:
    dev = Dev(folder, "--once", "--", "/bin/sh", "-c", "echo waiting; exec sleep 60")
    assert eventually(lambda: "waiting" in dev.output, or_ended=dev.process), dev.output
    assert dev.stop(signal.SIGTERM) == 128 + signal.SIGTERM
    assert processes_of(folder) == []
