"""What the compose stack's setup runs, run here on the engines of the tests: nobody has an engine for containers."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from dotenv import dotenv_values

from app import create_app
from lib.config import ROOT, Settings, load
from lib.identity.cognito import UserPool
from tests.support import scripts
from tests.support.compose_file import SERVICES, environment
from tools.local_stack.cognito import PASSWORD
from tools.local_stack.ministack import Ministack
from tools.seed.conversation import CONVERSATION_UUID

COMMAND, ENVIRONMENT = SERVICES["setup"]["command"], environment("setup")


@dataclass(frozen=True)
class Stack:
    """The setup's command with its variables, of which the addresses lead to the engines of the tests."""

    folder: Path
    variables: dict[str, str]

    def set_up(self) -> str:
        done = subprocess.run(
            COMMAND,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, **self.variables, "CRUDDUR_PYTHON": sys.executable},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def run(
        self,
        script: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        *arguments: str,
        **changed: str,
    ) -> tuple[int, Any]:
        """A script with these variables, in this process: its status and what it printed."""
        for name, value in {**ENVIRONMENT, **self.variables, **changed}.items():
            monkeypatch.setenv(name, value)
        status = scripts.load(script)(list(arguments))
        return status, capsys.readouterr()

    def written(self) -> dict[str, str]:
        return {name: value or "" for name, value in dotenv_values(self.folder / "stack.env").items()}

    def signed_in_client(self, handle: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, str]]:
        """A client of the application as the compose stack starts it, knowing LOCAL_DIR alone; and its headers."""
        monkeypatch.setenv("LOCAL_DIR", str(self.folder))
        settings = load(Settings)
        token = UserPool(settings).sign_in(handle, PASSWORD)
        return create_app(settings).test_client(), {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def cognito_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Cognito of this module's own, because it loses its pool."""
    folder = tmp_path_factory.mktemp("cognito")
    with Ministack(folder, log=folder / "log", persistent=False) as engine:
        yield engine.url


@pytest.fixture(scope="module")
def stack(
    dynamodb_url: str,
    dynamodb_client: Any,
    cognito_url: str,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """A stack that was set up once, in an environment that names no pool and no secret."""
    variables = {
        "LOCAL_DIR": str(tmp_path_factory.mktemp("stack")),
        "DATABASE_URL": new_database(),
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
        "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": cognito_url,
        "DDB_TABLE": f"compose-{uuid.uuid4().hex}",
    }
    made = Stack(Path(variables["LOCAL_DIR"]), variables)
    made.set_up()
    yield made
    dynamodb_client.delete_table(TableName=variables["DDB_TABLE"])


def test_a_seeded_user_signs_in_and_reads_the_seeded_conversation(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, headers = stack.signed_in_client("Augustsz", monkeypatch)
    groups = client.get("/api/message_groups", headers=headers)
    assert groups.status_code == 200
    assert CONVERSATION_UUID in [group["uuid"] for group in groups.json]
    messages = client.get(f"/api/messages/{CONVERSATION_UUID}?limit=100", headers=headers).json
    assert len(messages) >= 40


def test_a_second_setup_changes_nothing(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    client, headers = stack.signed_in_client("Augustsz", monkeypatch)
    reads = ("/api/message_groups", f"/api/messages/{CONVERSATION_UUID}?limit=100")
    before, written = [client.get(path, headers=headers).json for path in reads], stack.written()
    stack.set_up()
    assert stack.written() == written  # the secret among them: cursors stay good
    assert [client.get(path, headers=headers).json for path in reads] == before


def test_the_secrets_are_made_for_this_stack_and_for_its_owner_alone(stack: Stack) -> None:
    assert len(stack.written()["SECRET_KEY"]) >= 40
    assert stat.S_IMODE((stack.folder / "stack.env").stat().st_mode) == 0o600
    assert [path.name for path in stack.folder.iterdir()] == ["stack.env"]


def test_what_the_script_prints_completes_the_example(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = stack.run("cognito/setup", monkeypatch, capsys)
    assert status == 0, printed.err
    assert PASSWORD in printed.err
    dotenv = tmp_path / ".env"
    dotenv.write_text((ROOT / ".env.example").read_text() + printed.out)
    settings = load(Settings, {name: value or "" for name, value in dotenv_values(dotenv).items()})
    written = stack.written()
    assert settings.aws_cognito_user_pool_id == written["AWS_COGNITO_USER_POOL_ID"]
    assert settings.aws_cognito_user_pool_client_id == written["AWS_COGNITO_USER_POOL_CLIENT_ID"]
    assert settings.cognito_jwks_url == written["COGNITO_JWKS_URL"]


def test_a_pool_that_was_lost_is_made_again_and_its_users_linked(
    stack: Stack, cognito_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = stack.written()["AWS_COGNITO_USER_POOL_ID"]
    with closing(boto3.client("cognito-idp", endpoint_url=cognito_url)) as client:
        client.delete_user_pool(UserPoolId=lost)
    said = stack.set_up()
    assert "3 written" in said
    assert stack.written()["AWS_COGNITO_USER_POOL_ID"] != lost
    client, headers = stack.signed_in_client("bayko", monkeypatch)
    assert client.get("/api/message_groups", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("name", "elsewhere", "reason"),
    [
        ("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "", "no local stack's Cognito"),
        ("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "https://cognito.example.com", "no local stack's Cognito"),
        ("DATABASE_URL", "postgresql://u:hunter2@db.example.com/cruddur", "no local stack's Postgres"),
    ],
)
def test_nobody_elses_pool_gets_users_with_a_known_password(
    name: str,
    elsewhere: str,
    reason: str,
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = stack.written()
    status, printed = stack.run("cognito/setup", monkeypatch, capsys, "--stack-env", **{name: elsewhere})
    assert (status, printed.out) == (1, "")
    assert reason in printed.err
    assert "hunter2" not in printed.err
    assert stack.written() == before


def test_the_stream_worker_finds_the_table_by_the_setups_folder_alone(stack: Stack) -> None:
    settings = {**environment("stream-worker"), "LOCAL_DIR": str(stack.folder)}
    done = scripts.run("ddb/stream-worker", "--once", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"table/{stack.variables['DDB_TABLE']}/stream" in done.stdout
