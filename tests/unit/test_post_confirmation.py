"""The function that Cognito calls after a sign-up: it always returns the event, and loads only what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from lib.config import ROOT
from services.errors import Code, Forbidden, Unavailable
from tests.support import sign_up_events
from tests.support.sign_up_events import ATTRIBUTES, Log, event

function = sign_up_events.function
log = sign_up_events.log


@pytest.mark.parametrize("source", ["PostConfirmation_ConfirmForgotPassword", "PostAuthentication_Authentication"])
def test_other_events_change_nothing(function: ModuleType, log: Log, source: str) -> None:
    """The function has no database here, so an attempt to provision would be in the log."""
    assert function.handler(event(source), None) == event(source)
    assert log() == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Forbidden(Code.HANDLE_TAKEN), {"codes": ["handle_taken"]}),
        (Unavailable(Code.STORAGE_UNAVAILABLE), {"codes": ["storage_unavailable"]}),
        (ValueError("anna@example.com"), {"error": "ValueError"}),
    ],
    ids=repr,
)
def test_failure_goes_to_the_log_and_not_to_the_user(
    function: ModuleType, monkeypatch: pytest.MonkeyPatch, log: Log, error: Exception, reason: dict[str, Any]
) -> None:
    def fail(users: object, attributes: object) -> None:
        raise error

    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:9/nowhere")
    monkeypatch.setattr(function, "provision_user", fail)
    assert function.handler(event(), None) == event()
    [line] = log()
    expected = {"event": "user_not_provisioned", "level": "warning", "sub": ATTRIBUTES["sub"], **reason}
    assert line.items() >= expected.items()
    assert "anna" not in json.dumps(line)


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({}, "SettingsError"),
        ({"DATABASE_URL": "mysql://nowhere"}, "SettingsError"),
    ],
)
def test_missing_database_does_not_fail_the_sign_up(
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
def test_cold_start_loads_no_needless_package(folder: str, module: str, without: set[str]) -> None:
    code = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / folder)]}; import {module}; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(process.stdout.split())
    assert module in loaded
    assert loaded & without == set()
