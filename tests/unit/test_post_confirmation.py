"""The function that Cognito calls after a sign-up: it always gives the event back, and loads no more than it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from lib.config import ROOT
from lib.users.directory import User
from services.errors import Code, Forbidden, Unavailable
from tests.support import sign_up_events
from tests.support.sign_up_events import ATTRIBUTES, Log, event

function = sign_up_events.function
log = sign_up_events.log


@pytest.fixture
def came(function: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What came to the service: the users and the attributes."""
    came: list[Any] = []
    monkeypatch.setattr(function, "_users", lambda: "the users")
    monkeypatch.setattr(function, "provision_user", lambda users, attributes: came.append((users, attributes)))
    return came


def fail(function: ModuleType, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(users: object, attributes: object) -> User:
        raise error

    monkeypatch.setattr(function, "provision_user", refuse)


def test_who_has_confirmed_becomes_a_user(function: ModuleType, came: list[Any]) -> None:
    assert function.handler(event(), None) == event()
    assert came == [("the users", ATTRIBUTES)]


@pytest.mark.parametrize("source", ["PostConfirmation_ConfirmForgotPassword", "PostAuthentication_Authentication"])
def test_other_events_change_nothing(function: ModuleType, came: list[Any], source: str) -> None:
    assert function.handler(event(source), None) == event(source)
    assert came == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Forbidden(Code.HANDLE_TAKEN), {"codes": ["handle_taken"]}),
        (Forbidden(Code.USER_NOT_FOUND), {"codes": ["user_not_found"]}),
        (Unavailable(Code.STORAGE_UNAVAILABLE), {"codes": ["storage_unavailable"]}),
        (ValueError("anna@example.com"), {"error": "ValueError"}),
    ],
    ids=repr,
)
def test_a_failure_is_told_to_the_log_and_not_to_the_user(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch, log: Log, error: Exception, told: dict[str, Any]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:9/nowhere")
    fail(function, monkeypatch, error)
    assert function.handler(event(), None) == event()
    [line] = log()
    expected = {"event": "user_not_provisioned", "level": "warning", "sub": ATTRIBUTES["sub"], **told}
    assert line.items() >= expected.items()
    assert "anna" not in json.dumps(line)


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({}, "SettingsError"),
        ({"DATABASE_URL": "mysql://nowhere"}, "SettingsError"),
        ({"DATABASE_SECRET_ARN": "no-arn"}, "IndexError"),
    ],
)
def test_a_function_without_its_database_harms_nobody(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch, log: Log, variables: dict[str, str], error: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert function.handler(event(), None) == event()
    [line] = log()
    assert (line["event"], line["error"]) == ("user_not_provisioned", error)


@pytest.mark.parametrize(
    ("folder", "module", "without"),
    [
        ("aws/lambdas/post_confirmation", "handler", {"flask", "werkzeug", "jwt", "cryptography", "rich"}),
        ("aws/lambdas/message_stream", "handler", {"flask", "werkzeug", "jwt", "cryptography", "rich", "psycopg"}),
        ("", "services.errors", {"psycopg", "boto3"}),
        ("", "services.update_group", {"psycopg", "flask"}),
    ],
)
def test_a_cold_start_loads_no_package_that_the_function_has_no_use_for(
    folder: str, module: str, without: set[str]
) -> None:
    code = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / folder)]}; import {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded & without == set()
