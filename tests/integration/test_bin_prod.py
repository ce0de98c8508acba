"""Whatever writes or drops refuses any system but the local stack, unless its command line has `prod`."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.support import scripts

NO_CHANGE = {"db/connect", "db/sessions", "ddb/list-tables", "ddb/scan", "ddb/patterns/list-conversations"} | {
    "cognito/list-users", "cognito/token", "ddb/patterns/get-conversation"  # test_bin_ddb_explain.py: its migration
}  # fmt: skip
NO_SYSTEM = {"bench", "dev", "docs", "help", "test"}
NEW_TABLE = {"aws/restore"}
OWN_CONFIRMATION = {"aws/check", "aws/delete", "aws/deploy", "aws/run"}  # aws/run: that of the script in the container
CHANGES = {
    "cache/create": "the-cache at Momento",
    "cognito/setup": "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER",
    "db/add-user anna anna@example.com": "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER",
    "db/check --fix": "db.example.com/cruddur",
    "db/create": "db.example.com/cruddur",
    "db/disable-user bayko": "db.example.com/cruddur",
    "db/drop": "db.example.com/cruddur",
    "db/enable-user bayko": "db.example.com/cruddur",
    "db/migrate": "db.example.com/cruddur",
    "db/rename-user bayko --handle bay": "db.example.com/cruddur",
    "db/reports": "db.example.com/cruddur",
    "db/roles": "db.example.com/cruddur",
    "db/schema-load": "db.example.com/cruddur",
    "db/seed": "db.example.com/cruddur",
    "db/setup": "db.example.com/cruddur",
    "db/sign-out-user bayko": "db.example.com/cruddur",
    "db/update_cognito_user_ids": "db.example.com/cruddur",
    "ddb/copy-later old --since 2026-01-02 --copy": "the-table at AWS us-east-1",
    "ddb/doctor --fix": "the-table at AWS us-east-1",
    "ddb/drop": "the-table at AWS us-east-1",
    "ddb/explain C": "the-table at AWS us-east-1",
    "ddb/explain D": "the-table at AWS us-east-1",
    "ddb/partiql DELETE": "the-table at AWS us-east-1",
    "ddb/partiql EXISTS(SELECT": "the-table at AWS us-east-1",
    "ddb/partiql SELEC": "the-table at AWS us-east-1",
    "ddb/schema-load": "the-table at AWS us-east-1",
    "ddb/seed": "the-table at AWS us-east-1",
    "ddb/stream-worker": "the-table at AWS us-east-1",
}
PRODUCTION = {
    "DATABASE_URL": "postgresql://me:pa55word@db.example.com/cruddur",
    "DDB_TABLE": "the-table",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_COGNITO_USER_POOL_ID": "us-east-1_Example01",
    "AWS_COGNITO_USER_POOL_CLIENT_ID": "client",
    "MOMENTO_API_KEY": "a key of nobody's",
    "MOMENTO_CACHE_NAME": "the-cache",
    "SECRET_KEY": "signs cursors in this test alone",
}
TUNNELS = {
    "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:18000",
    "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": "http://127.0.0.1:18001",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
}


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a system that must not change; a connection fails the test."""
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)

    def connect(*_: Any) -> None:
        pytest.fail("the script connected")

    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.setattr(socket.socket, "connect", connect)


def refusal(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    name, *arguments = command.split()
    status, data, printed = scripts.runner(capsys, ".")(name, *arguments)
    assert data == []
    assert printed.count("\n") == 1
    return status, printed


def test_every_script_is_known_to_change_a_system_or_not() -> None:
    changing = {command.split()[0] for command in CHANGES}
    assert changing | NO_CHANGE | NO_SYSTEM | NEW_TABLE | OWN_CONFIRMATION == set(scripts.names())


@pytest.mark.parametrize(("command", "target"), CHANGES.items())
@pytest.mark.usefixtures("production")
def test_change_of_another_system_needs_prod(command: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    word = "--prod" if "partiql" in command else "prod"
    end = f": {target} is no local stack. If you mean it, add `{word} --yes`.\n"
    status, printed = refusal(command, capsys)
    assert (status, printed.startswith("Refused")) == (1, True)
    assert printed.endswith(end) or (target.startswith("AWS_ENDPOINT") and target in printed)


@pytest.mark.parametrize("url", ["postgresql://me:pa55word@127.0.0.1:15432/cruddur", "postgresql:///cruddur?host=/tmp"])
@pytest.mark.parametrize("command", [command for command in CHANGES if command != "cache/create"])
@pytest.mark.usefixtures("production")
def test_tunnel_from_this_machine_is_no_local_stack(
    command: str, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (TUNNELS | {"DATABASE_URL": url}).items():
        monkeypatch.setenv(name, value)
    status, printed = refusal(command, capsys)
    assert (status, printed.startswith("Refused"), "no local stack" in printed) == (1, True, True)
