"""The command of the compose file's setup, run on the engines of the tests: the tests need no container engine."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from dotenv import dotenv_values

from app import create_app
from lib.config import ROOT, CognitoSettings, Settings, load
from lib.identity.cognito import UserPool
from lib.postgres.database import Database
from tests.support import scripts
from tests.support.compose_file import SERVICES, environment
from tools.local_stack.cognito import PASSWORD
from tools.local_stack.ministack import Ministack
from tools.seed.conversation import CONVERSATION_UUID

READS = ("/api/message_groups", f"/api/messages/{CONVERSATION_UUID}?limit=100")
SECRET = "hunter2"


@pytest.fixture(scope="module")
def cognito_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Cognito of this module, because a test deletes its pool."""
    folder = tmp_path_factory.mktemp("cognito")
    with Ministack(folder, log=folder / "log", persistent=False) as engine:
        yield engine.url


@pytest.fixture(scope="module")
def variables(
    dynamodb_url: str,
    dynamodb_client: Any,
    cognito_url: str,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """The variables of `setup` after its first run. The addresses are those of the tests' engines."""
    variables = environment("setup") | {
        "LOCAL_DIR": str(tmp_path_factory.mktemp("stack")),
        "DATABASE_URL": new_database(),
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
        "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": cognito_url,
        "DDB_TABLE": f"compose-{uuid.uuid4().hex}",
        "CRUDDUR_PYTHON": sys.executable,
    }
    assert set_up(variables).stdout.endswith("Open http://localhost:4567 in two windows when the API has started.\n")
    yield variables
    dynamodb_client.delete_table(TableName=variables["DDB_TABLE"])


def set_up(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command of `setup`."""
    command, environ = SERVICES["setup"]["command"], os.environ | variables
    process = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 0, process.stderr
    return process


def stack_env(variables: dict[str, str]) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(Path(variables["LOCAL_DIR"]) / "stack.env").items()}


def read(variables: dict[str, str], handle: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The inbox and the seeded conversation as a user of the API reads them. The API knows LOCAL_DIR only."""
    monkeypatch.setenv("LOCAL_DIR", variables["LOCAL_DIR"])
    settings = load(Settings)
    headers = {"Authorization": f"Bearer {UserPool(settings).sign_in(handle, PASSWORD)}"}
    client = create_app(settings).test_client()
    responses = [client.get(path, headers=headers) for path in READS]
    assert [response.status_code for response in responses] == [200, 200]
    return [response.json for response in responses]


def test_seeded_user_reads_seeded_conversation_and_second_setup_changes_nothing(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, messages = read(variables, "Augustsz", monkeypatch)
    assert CONVERSATION_UUID in [group["uuid"] for group in inbox]
    assert len(messages) >= 40
    settings = stack_env(variables)
    assert len(settings["SECRET_KEY"]) >= 40
    set_up(variables)
    assert stack_env(variables) == settings  # the same SECRET_KEY: cursors stay valid
    assert read(variables, "Augustsz", monkeypatch) == [inbox, messages]
    [path] = Path(variables["LOCAL_DIR"]).iterdir()
    assert (path.name, path.stat().st_mode & 0o777) == ("stack.env", 0o600)


def test_renamed_user_keeps_their_cognito_user(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = read(variables, "bayko@example.com", monkeypatch)
    for old, new in [("bayko", "bay"), ("bay", "bayko")]:
        with Database(variables["DATABASE_URL"]) as database:  # Cognito still has the old handle
            database.execute("users/rename", handle=old, new_handle=new, display_name=None)
        assert "0 written, 3 already right" in set_up(variables).stderr
        assert read(variables, "bayko@example.com", monkeypatch)[0] == before[0]
        assert len(list(UserPool(load(CognitoSettings)).users())) == 3


def test_printed_settings_complete_example(variables: dict[str, str], tmp_path: Path) -> None:
    process = scripts.run("cognito/setup", **variables)
    assert process.returncode == 0, process.stderr
    assert PASSWORD in process.stderr
    dotenv = tmp_path / ".env"
    dotenv.write_text((ROOT / ".env.example").read_text() + process.stdout)
    example = {name: value or "" for name, value in dotenv_values(dotenv).items()}
    load(Settings, example)
    settings = stack_env(variables)
    for name in ("AWS_COGNITO_USER_POOL_ID", "AWS_COGNITO_USER_POOL_CLIENT_ID", "COGNITO_JWKS_URL"):
        assert example[name] == settings[name]


def test_setup_replaces_lost_pool_and_links_its_users(
    variables: dict[str, str], cognito_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool_id = stack_env(variables)["AWS_COGNITO_USER_POOL_ID"]
    with closing(boto3.client("cognito-idp", endpoint_url=cognito_url)) as client:
        client.delete_user_pool(UserPoolId=pool_id)
    assert "3 written" in set_up(variables).stderr
    assert stack_env(variables)["AWS_COGNITO_USER_POOL_ID"] != pool_id
    read(variables, "bayko", monkeypatch)


@pytest.mark.parametrize(
    ("name", "address", "reason"),
    [
        ("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "", "no local stack's Cognito"),
        ("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", "https://cognito.example.com", "no local stack's Cognito"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE", "AWS_ACCESS_KEY_ID is not `test`"),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@db.example.com/cruddur", "no local stack's Postgres"),
    ],
)
def test_setup_refuses_engines_outside_local_stack(
    name: str, address: str, reason: str, variables: dict[str, str]
) -> None:
    settings = stack_env(variables)
    process = scripts.run("cognito/setup", "--stack-env", **variables | {name: address})
    assert (process.returncode, process.stdout) == (1, "")
    assert reason in process.stderr
    assert SECRET not in process.stderr
    assert stack_env(variables) == settings


def test_stream_worker_finds_table_by_folder_of_setup(variables: dict[str, str]) -> None:
    settings = environment("stream-worker") | {"LOCAL_DIR": variables["LOCAL_DIR"]}
    process = scripts.run("ddb/stream-worker", "--once", **settings)
    assert (process.returncode, process.stderr) == (0, "")
    assert f"table/{variables['DDB_TABLE']}/stream" in process.stdout
