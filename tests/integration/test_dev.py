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
from tests.support.dev import (
    SECONDS,
    Dev,
    authorization,
    call,
    cognito,
    eventually,
    once,
    processes_of,
    running,
    stop_all,
)
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


def test_messages_survive_a_stop_and_the_second_start_is_quick(folder: Path) -> None:
    with running(folder) as dev:
        first = dev.description
        sender, receiver, *_ = first["users"]
        sent = call(
            f"{first['api_url']}/api/messages",
            {"message": GREETING, "handle": receiver["handle"]},
            Authorization=authorization(first, sender),
        )
        assert dev.stop(signal.SIGINT) == 0
        assert not list(folder.glob("stack.*"))

    began = time.monotonic()
    with running(folder) as dev:
        assert time.monotonic() - began < 6
        second = dev.description
        assert second["users"] == first["users"]
        assert second["cognito"]["user_pool_id"] == first["cognito"]["user_pool_id"]
        messages = call(
            f"{second['api_url']}/api/messages/{sent['message_group_uuid']}",
            Authorization=authorization(second, second["users"][1]),
        )
        assert [each["message"] for each in messages if each["uuid"] == sent["uuid"]] == [GREETING]


def test_who_signed_up_keeps_name_and_password_and_is_not_made_twice(folder: Path) -> None:
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
        dev.stop(signal.SIGINT)

    with running(folder) as dev:
        second = dev.description
        assert second["users"] == first["users"]
        [found] = cognito(
            second,
            "ListUsers",
            UserPoolId=second["cognito"]["user_pool_id"],
            Filter='preferred_username = "delenn"',
        )["Users"]
        assert found["Username"] == username
        bearer = authorization(second, {"username": username, "password": password})
        assert call(f"{second['api_url']}/api/message_groups", Authorization=bearer) == []


def test_a_running_stack_describes_itself_and_its_curl_line_works_as_pasted(folder: Path) -> None:
    with running(folder) as dev:
        described = dev.description
        assert described.keys() == {"api_url", "dynamodb_endpoint", "postgres_url", "cognito", "users"}
        for user in described["users"]:
            assert user.keys() == {"handle", "username", "password", "user_uuid", "cognito_user_id"}
            assert user["cognito_user_id"]
        for name in ("stack.json", "stack.env", "secret_key"):
            assert (folder / name).stat().st_mode & 0o777 == 0o600

        assert eventually(lambda: "Ctrl-C stops everything" in dev.output)
        (curl,) = re.findall(r"^curl .*$", dev.output, re.MULTILINE)
        # The shell makes the words; a `curl` that shows them stands in for a program that not every machine has.
        (folder / "curl").write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
        (folder / "curl").chmod(0o755)
        pasted = subprocess.run(
            ["/bin/sh", "-c", curl],
            cwd="/",
            env=bare_environment(CRUDDUR_PYTHON=sys.executable, PATH=f"{folder}:{os.environ['PATH']}"),
            capture_output=True,
            text=True,
            check=True,
        )
        silent, option, header, url = json.loads(pasted.stdout)
        assert (silent, option) == ("-s", "-H")
        name, _, value = header.partition(": ")
        assert isinstance(call(url, **{name: value})[0]["message"], str)

        status, output = once(folder, "true")
        assert status == 1
        assert re.fullmatch(r"\S+ is in use by another ./bin/dev[^\n]+\n", output)


def test_a_second_api_beside_it_has_its_stack_and_its_own_port(folder: Path, tmp_path: Path) -> None:
    with running(folder, FEED_WINDOW_SECONDS="11") as dev:
        assert b"FEED_WINDOW_SECONDS=11" in _environment_of_the_api(dev)
        port = free_port()
        beside = Child(
            "an API",
            [sys.executable, ROOT / "serve.py"],
            env=bare_environment(LOCAL_DIR=str(folder), PORT=str(port), WEB_CONCURRENCY="1"),
            ready=answers(f"http://{LOOPBACK}:{port}/api/ready"),
            log=tmp_path / "log",
        )
        with beside:
            user = dev.description["users"][0]
            bearer = authorization(dev.description, user)
            assert call(f"http://{LOOPBACK}:{port}/api/message_groups", Authorization=bearer)


def _environment_of_the_api(dev: Dev) -> bytes:
    (api,) = [each for each in psutil.Process(dev.process.pid).children() if "serve.py" in " ".join(each.cmdline())]
    return Path(f"/proc/{api.pid}/environ").read_bytes()


def test_a_part_that_dies_ends_the_stack_with_its_name(folder: Path) -> None:
    with running(folder) as dev:
        parts = psutil.Process(dev.process.pid).children()
        next(each for each in parts if "ministack" in " ".join(each.cmdline())).kill()
        assert dev.process.wait(SECONDS) == 1
        assert "ministack ended with status -9" in dev.output


def test_a_killed_stack_takes_its_children_along_and_can_start_again(folder: Path) -> None:
    dev = Dev(folder)
    dev.wait_until_up()
    dev.stop(signal.SIGKILL)
    assert eventually(lambda: processes_of(folder) == [])
    assert once(folder, "true")[0] == 0


def test_a_killed_stacks_engine_keeps_the_folder_until_it_has_saved(folder: Path) -> None:
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
    assert once(folder, "true")[0] == 0


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


def test_once_says_that_a_command_is_not_there(folder: Path) -> None:
    status, output = once(folder, "no-such-command")
    assert status == 127, output
    assert "no-such-command" in output.splitlines()[-1]
