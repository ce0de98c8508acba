"""Cognito's event after a sign-up, and the function that receives it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.support.streamed import load_handler

ATTRIBUTES = {
    "sub": "f73f4b05-a59e-468b-8a29-a1c39e7a2222",
    "preferred_username": "anna",
    "name": "Anna Ann",
    "email": "anna@example.com",
    "email_verified": "true",
    "cognito:user_status": "CONFIRMED",
}

Log = Callable[[], list[dict[str, Any]]]


def event(source: str = "PostConfirmation_ConfirmSignUp", **attributes: str) -> dict[str, Any]:
    """The event as in Cognito's developer guide."""
    return {
        "version": "1",
        "region": "us-east-1",
        "userPoolId": "us-east-1_Test00001",
        "userName": "anna",
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": "3n4b5urk1ft4fl3mg5e62d9ado"},
        "triggerSource": source,
        "request": {"userAttributes": ATTRIBUTES | attributes},
        "response": {},
    }


@pytest.fixture
def function() -> Iterator[ModuleType]:
    """The function as in a new process of Lambda. The test ends with the log as before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield load_handler("post_confirmation")
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Log:
    """Returns the log lines since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]
