"""The scripts in bin/cognito on ministack's user pool."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import pytest

from lib.config import ROOT, CognitoSettings, load
from lib.identity.cognito import CognitoError, UserPool
from tests.support import scripts, srp
from tests.support.cognito_ids import use_pool
from tools.local_stack.cognito import PASSWORD, LocalPool, ensure_pool, ensure_user

CROWD = 130  # three pages of 60


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> scripts.Run:
    return scripts.runner(capsys, "cognito")


@pytest.fixture(scope="module")
def crowded_pool(cognito_client: Any) -> Iterator[LocalPool]:
    """A pool of its own, with more users than three pages of ListUsers hold, one of them without a handle."""
    pool_id = cognito_client.create_user_pool(PoolName="crowded")["UserPool"]["Id"]
    for number in range(CROWD):
        cognito_client.admin_create_user(
            UserPoolId=pool_id,
            Username=f"user-{number:03}",
            UserAttributes=[{"Name": "preferred_username", "Value": f"handle-{number:03}"}],
            MessageAction="SUPPRESS",
        )
    cognito_client.admin_create_user(UserPoolId=pool_id, Username="plain", MessageAction="SUPPRESS")
    cognito_client.admin_disable_user(UserPoolId=pool_id, Username="user-007")
    yield LocalPool(pool_id, "no client is needed")
    cognito_client.delete_user_pool(UserPoolId=pool_id)


@pytest.fixture
def pool(cognito_client: Any, ministack_url: str, monkeypatch: pytest.MonkeyPatch) -> LocalPool:
    """The settings of the local stack's pool, with one user in it."""
    pool = ensure_pool(cognito_client)
    ensure_user(cognito_client, pool, handle="Augustsz", display_name="Augustsz", email="augustsz@example.com")
    use_pool(pool, ministack_url, monkeypatch)
    return pool


def sign_in(client: Any, pool: LocalPool, username: str, password: str = PASSWORD) -> dict[str, str]:
    return srp.sign_in(client, pool.user_pool_id, pool.client_id, username, password)


@pytest.mark.parametrize("username", ["augustsz@example.com", "Augustsz"])
def test_front_end_signs_in_by_srp_and_refreshes(username: str, pool: LocalPool, cognito_client: Any) -> None:
    tokens = sign_in(cognito_client, pool, username)
    refreshed = cognito_client.initiate_auth(
        ClientId=pool.client_id,
        AuthFlow="REFRESH_TOKEN_AUTH",
        AuthParameters={"REFRESH_TOKEN": tokens["RefreshToken"]},
    )["AuthenticationResult"]
    for token in (tokens["AccessToken"], refreshed["AccessToken"]):
        claims = jwt.decode(token, options={"verify_signature": False})
        assert (claims["token_use"], claims["client_id"]) == ("access", pool.client_id)
    with pytest.raises(cognito_client.exceptions.NotAuthorizedException):
        sign_in(cognito_client, pool, username, "Wrong-1234")


def test_client_of_an_older_pool_gets_the_flows(pool: LocalPool, cognito_client: Any) -> None:
    old = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    cognito_client.update_user_pool_client(UserPoolId=pool.user_pool_id, ClientId=pool.client_id, ExplicitAuthFlows=old)
    assert ensure_pool(cognito_client) == pool
    assert sign_in(cognito_client, pool, "Augustsz")


def test_list_users_reads_all_pages_and_prints_a_user_without_a_handle(
    crowded_pool: LocalPool, ministack_url: str, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_pool(crowded_pool, ministack_url, monkeypatch)
    status, (heading, *lines), printed = run("list-users")
    assert (status, heading) == (0, "username preferred_username sub status e-mail")
    assert printed.endswith(f"{CROWD + 1} users\n")
    handles = {line.split()[0]: line.split()[1] for line in lines}
    assert handles == {f"user-{number:03}": f"handle-{number:03}" for number in range(CROWD)} | {"plain": "-"}
    assert [line.split()[0] for line in lines if "disabled" in line] == ["user-007"]


@pytest.mark.parametrize("arguments", [["list-users"], ["token", "Augustsz", "--password", "x"]])
def test_unreachable_pool_is_reported_in_one_line(
    arguments: list[str], pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between boto3's tries
    status, _, printed = run(*arguments)
    assert (status, pool.user_pool_id in printed, printed.count("\n")) == (1, True, 1)


def test_token_comes_from_the_local_stack_and_not_from_the_environment(
    pool: LocalPool, tmp_path: Path, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    status, _, printed = run("token", "Augustsz")
    assert (status, "start ./bin/dev, set LOCAL_DIR, or give --password" in printed) == (1, True)
    users = [{"handle": "Augustsz", "username": "Augustsz", "password": PASSWORD}]
    (tmp_path / "stack.json").write_text(json.dumps({"users": users}))
    stack = {name: value for name, value in os.environ.items() if "COGNITO" in name or name == "AWS_DEFAULT_REGION"}
    (tmp_path / "stack.env").write_text("".join(f"{name}='{value}'\n" for name, value in stack.items()))
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", "us-east-1_another")
    status, [token], _ = run("token", "Augustsz")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (status, claims["token_use"], claims["client_id"]) == (0, "access", pool.client_id)
    assert run("token", "AUGUSTSZ")[0] == 0
    status, _, printed = run("token", "nobody")
    assert (status, "is not one of Augustsz" in printed) == (1, True)


def test_token_takes_a_password_and_reports_a_wrong_one(pool: LocalPool, run: scripts.Run) -> None:
    assert run("token", "Augustsz", "--password", PASSWORD)[1][0].count(".") == 2
    status, data, printed = run("token", "Augustsz", "--password", "Wrong-1234!")
    assert (status, data, "NotAuthorizedException" in printed) == (1, [], True)
    assert "Wrong-1234!" not in printed


def test_token_takes_a_password_that_is_not_on_the_command_line(
    pool: LocalPool, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    status, [token], printed = run("token", "augustsz@example.com", "--password")
    assert (status, token.count("."), printed) == (0, 2, "")
    status, data, printed = run("token", "Augustsz", "--password")  # the input is at its end
    assert (status, data, printed) == (1, [], "The password is empty\n")
    monkeypatch.setenv("CRUDDUR_PASSWORD", PASSWORD)
    assert run("token", "Augustsz")[1][0].count(".") == 2


def test_password_is_typed_without_echo_and_the_output_has_the_token_alone(pool: LocalPool) -> None:
    keyboard, terminal = pty.openpty()
    command = [ROOT / "bin/cognito/token", "Augustsz", "--password"]
    streams = {"stdin": terminal, "stdout": subprocess.PIPE, "stderr": terminal}
    with subprocess.Popen(command, **streams, text=True, start_new_session=True) as script:
        os.close(terminal)
        screen = os.read(keyboard, 1024)
        os.write(keyboard, f"{PASSWORD}\n".encode())
        output, _ = script.communicate(timeout=30)
        with suppress(OSError):  # the end of a terminal
            while data := os.read(keyboard, 1024):
                screen += data
    os.close(keyboard)
    assert (script.returncode, output.count("."), output.count("\n")) == (0, 2, 1)
    assert screen.split() == [b"Password:"]


def test_invited_user_gets_no_token_before_choosing_a_password(pool: LocalPool, cognito_client: Any) -> None:
    cognito_client.admin_create_user(
        UserPoolId=pool.user_pool_id, Username="invited@a.test", TemporaryPassword=PASSWORD, MessageAction="SUPPRESS"
    )
    with pytest.raises(CognitoError, match="NEW_PASSWORD_REQUIRED"):
        UserPool(load(CognitoSettings)).sign_in("invited@a.test", PASSWORD)
    cognito_client.admin_delete_user(UserPoolId=pool.user_pool_id, Username="invited@a.test")
