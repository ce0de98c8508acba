"""What Momento's console and its protocol call a key: the text that a setting takes."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from typing import Any

import pytest
from momento_wire_types import auth_pb2

from lib.config import CacheSettings
from lib.momento import credentials
from lib.momento_account import Account

CELL = "cell-1.prod.example.com"


def wrapped(key: str, endpoint: str) -> str:
    return base64.b64encode(json.dumps({"endpoint": endpoint, "api_key": key}).encode()).decode()


def test_a_new_key_is_given_out_as_a_setting_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def answer(method: object, request: Any) -> Any:
        asked.append(request)
        return auth_pb2._RefreshApiTokenResponse(api_key="new", refresh_token="next", endpoint=CELL, valid_until=0)

    with closing(Account(CacheSettings(momento_api_key=wrapped("old", CELL)))) as account:
        monkeypatch.setattr(account, "_call", answer)
        new = account.refresh_key("first")
    [request] = asked
    assert (request.api_key, request.refresh_token) == ("old", "first")
    given = credentials(CacheSettings(momento_api_key=new.api_key))
    assert (given.auth_token, given.control_endpoint) == ("new", f"control.{CELL}")
    assert (new.refresh_token, new.valid_until) == ("next", None)
    assert "new" not in repr(new)
    assert "next" not in repr(new)
