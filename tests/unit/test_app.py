"""The application without its servers: it needs settings alone, and turns every error into a code."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from werkzeug.exceptions import default_exceptions

from app import create_app
from lib.config import ROOT, Settings, SettingsError, load
from routes.errors import STATUS_BY_ERROR
from services.errors import Code, RateLimited, ServiceError
from tools.local_stack.processes import bare_environment

ENVIRON = {
    "DATABASE_URL": "postgresql:///users?host=/nowhere",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1",
    "AWS_COGNITO_USER_POOL_ID": "us-east-1_Test00001",
    "AWS_COGNITO_USER_POOL_CLIENT_ID": "client",
    "SECRET_KEY": "a secret key of 32 characters or more",
}


@pytest.fixture
def app() -> Iterator[Flask]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with redirect_stdout(io.StringIO()):
        app = create_app(load(Settings, ENVIRON))
    yield app
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_creation_opens_no_connection(client: FlaskClient) -> None:
    assert client.get("/api/health-check").status_code == 200


def test_relay_uses_the_database_of_live_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Mock()
    monkeypatch.setattr("app.PostgresRelay", relay)
    create_app(load(Settings, {**ENVIRON, "LIVE_DATABASE_URL": "postgresql:///direct"}))
    relay.assert_called_once_with("postgresql:///direct")


def test_settings_default_to_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL is missing"):
        create_app()
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    with redirect_stdout(io.StringIO()):
        assert create_app().extensions["dependencies"].settings == load(Settings, ENVIRON)


def test_flask_run_names_missing_settings_without_a_traceback(tmp_path: Path) -> None:
    environment = bare_environment(PYTHON_DOTENV_DISABLED="1", LOCAL_DIR=str(tmp_path))
    command = [sys.executable, "-m", "flask", "run", "--port", "1"]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (2, "")
    assert "Traceback" not in process.stderr
    assert all(f"{name} is missing" in process.stderr for name in ("SECRET_KEY", "DATABASE_URL"))


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY"])
def test_proxy_for_dynamodb_or_cognito_prevents_the_start(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://proxy.example.com:3128")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    with redirect_stdout(io.StringIO()), pytest.raises(SettingsError, match=f"{variable} is set"):
        create_app(load(Settings, ENVIRON))


def test_applications_share_no_adapter(app: Flask) -> None:
    with redirect_stdout(io.StringIO()):
        other = create_app(load(Settings, ENVIRON))
    for adapter in ("store", "users", "verifier", "readiness"):
        first, second = (getattr(flask.extensions["dependencies"], adapter) for flask in (app, other))
        assert first is not second


@pytest.mark.parametrize("error", ServiceError.__subclasses__())
def test_service_error_becomes_a_status_and_codes(app: Flask, client: FlaskClient, error: type[ServiceError]) -> None:
    status = STATUS_BY_ERROR[error]
    values = {"limit": 5, "retry_after": 30} if error is RateLimited else {}
    app.add_url_rule("/refused", view_func=raising(error(Code.MESSAGE_BLANK, Code.RECEIVER_AMBIGUOUS, **values)))
    response = client.get("/refused")
    assert (response.status_code, response.json) == (status, ["message_blank", "receiver_ambiguous"])
    assert ("Retry-After" in response.headers) == (status in (429, 503))
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


def raising(error: Exception) -> Any:
    def view() -> None:
        raise error

    return view


@pytest.mark.parametrize("status", sorted(default_exceptions))
def test_http_error_becomes_a_code(app: Flask, client: FlaskClient, status: int) -> None:
    app.add_url_rule("/refused", view_func=lambda: abort(status))
    response = client.get("/refused")
    assert response.status_code == status
    [code] = response.json
    assert code in list(Code)


@pytest.mark.parametrize("error", [RuntimeError("secret"), KeyError("secret"), ExceptionGroup("secret", [OSError()])])
def test_bug_is_a_500_without_its_message(app: Flask, client: FlaskClient, error: Exception) -> None:
    app.add_url_rule("/bug", view_func=raising(error))
    response = client.get("/bug", headers={"X-Request-Id": "the-same"})
    assert (response.status_code, response.json) == (500, ["internal_error"])
    assert response.headers["X-Request-Id"] == "the-same"
    assert b"secret" not in response.data


def test_codes_are_lower_case_words() -> None:
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in Code)
    assert all(code == code.name.lower() for code in Code)


def test_every_code_is_used() -> None:
    paths = [ROOT / "app.py", *(ROOT / "routes").glob("*.py"), *(ROOT / "services").glob("*.py")]
    code = "".join(path.read_text() for path in paths)
    assert [name for name in Code.__members__ if f"Code.{name}" not in code] == []
