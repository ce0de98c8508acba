"""The application as it is made: from settings alone, with every code of the contract and no connection."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from werkzeug.exceptions import default_exceptions

from app import create_app
from lib.config import ROOT, Settings, SettingsError, load
from routes.errors import STATUS_BY_ERROR
from services.errors import Code, ServiceError

ENVIRON = {
    "DATABASE_URL": "postgresql:///users?host=/nowhere",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1",
    "AWS_COGNITO_USER_POOL_ID": "us-east-1_Test00001",
    "AWS_COGNITO_USER_POOL_CLIENT_ID": "client",
    "SECRET_KEY": "a secret of these tests",
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


def test_making_it_connects_to_nothing(client: FlaskClient) -> None:
    assert client.get("/api/health-check").status_code == 200


def test_without_settings_it_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL is missing"):
        create_app()
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    with redirect_stdout(io.StringIO()):
        assert create_app().extensions["dependencies"].settings == load(Settings, ENVIRON)


def test_two_applications_share_nothing(app: Flask) -> None:
    with redirect_stdout(io.StringIO()):
        other = create_app(load(Settings, ENVIRON))
    for adapter in ("store", "users", "verifier", "readiness"):
        assert len({getattr(each.extensions["dependencies"], adapter) for each in (app, other)}) == 2


def test_every_kind_of_refusal_has_a_status() -> None:
    assert set(STATUS_BY_ERROR) == set(ServiceError.__subclasses__())


@pytest.mark.parametrize(("kind", "status"), STATUS_BY_ERROR.items())
def test_a_refusal_is_its_codes_and_its_status(
    app: Flask, client: FlaskClient, kind: type[ServiceError], status: int
) -> None:
    app.add_url_rule("/refused", view_func=raising(kind(Code.MESSAGE_BLANK, Code.RECEIVER_AMBIGUOUS)))
    response = client.get("/refused")
    assert (response.status_code, response.json) == (status, ["message_blank", "receiver_ambiguous"])
    assert ("Retry-After" in response.headers) == (status == 503)
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


def raising(error: Exception) -> Any:
    def view() -> None:
        raise error

    return view


@pytest.mark.parametrize("status", sorted(default_exceptions))
def test_every_http_error_is_answered_with_a_code(app: Flask, client: FlaskClient, status: int) -> None:
    app.add_url_rule("/refused", view_func=lambda: abort(status))
    response = client.get("/refused")
    assert response.status_code == status
    [code] = response.json
    assert code in list(Code)


@pytest.mark.parametrize("error", [RuntimeError("secret"), KeyError("secret"), ExceptionGroup("secret", [OSError()])])
def test_a_bug_is_a_500_without_its_message(app: Flask, client: FlaskClient, error: Exception) -> None:
    app.add_url_rule("/bug", view_func=raising(error))
    response = client.get("/bug", headers={"X-Request-Id": "the-same"})
    assert (response.status_code, response.json) == (500, ["internal_error"])
    assert response.headers["X-Request-Id"] == "the-same"
    assert b"secret" not in response.data


def test_codes_are_words_that_clients_can_compare() -> None:
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in Code)
    assert all(code == code.name.lower() for code in Code)


def test_every_code_is_used() -> None:
    paths = [ROOT / "app.py", *(ROOT / "routes").glob("*.py"), *(ROOT / "services").glob("*.py")]
    code = "".join(path.read_text() for path in paths)
    assert [each.name for each in Code if f"Code.{each.name}" not in code] == []
