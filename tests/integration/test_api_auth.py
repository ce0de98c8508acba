"""Authentication over HTTP: each refusal with its challenge, removed users, and the short profile."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from lib.users.directory import UserDirectory
from tests.support.api import Api, ok, refused, run_api

INBOX = "/api/message_groups"

api = pytest.fixture(scope="module")(run_api)


@pytest.mark.parametrize(
    ("authorization", "code", "error"),
    [
        ("Basic YTpi", "token_malformed", "invalid_request"),
        ("Bearer ü", "token_malformed", "invalid_request"),
        ("Bearer " + "x" * 8000, "token_invalid", "invalid_token"),
    ],
)
def test_bad_header_is_challenged(api: Api, authorization: str, code: str, error: str) -> None:
    assert_challenged(api, authorization, code, error)


@pytest.mark.parametrize(("claims", "code"), [({"exp": 1}, "token_expired"), ({"token_use": "id"}, "token_invalid")])
def test_bad_token_of_a_user_is_challenged(api: Api, claims: dict[str, Any], code: str) -> None:
    authorization = api.issuer.authorization(f"sub-{api.sign_up().user.uuid}", **claims)
    assert_challenged(api, authorization, code, "invalid_token")


def assert_challenged(api: Api, authorization: str, code: str, error: str) -> None:
    response = api.app.test_client().get(INBOX, headers={"Authorization": authorization})
    assert refused(response) == (401, [code])
    challenge = f'Bearer realm="cruddur", error="{error}", error_description="{code}"'
    assert response.headers["WWW-Authenticate"] == challenge


@pytest.mark.parametrize("sub", ["unknown", "a\0b", "\ud7ff", "x" * 300])
def test_valid_token_without_a_user_is_forbidden(api: Api, sub: str) -> None:
    response = api.app.test_client().get(INBOX, headers={"Authorization": api.issuer.authorization(sub)})
    assert refused(response) == (403, ["user_not_found"])
    assert "WWW-Authenticate" not in response.headers


def test_removed_user_stays_for_a_minute_and_a_new_one_is_visible_at_once(api: Api) -> None:
    now = time.monotonic()
    with api.variant() as fresh, psycopg.connect(api.settings.database_url, autocommit=True) as connection:
        adapters = fresh.app.extensions["dependencies"]
        users = UserDirectory(adapters.users._database, timer=lambda: now)
        fresh.app.extensions["dependencies"] = replace(adapters, users=users)
        anna = fresh.sign_up()
        anna.inbox()
        connection.execute("DELETE FROM users WHERE uuid = %s", (anna.user.uuid,))
        now += 59
        anna.inbox()
        now += 1
        assert refused(anna.get(INBOX)) == (403, ["user_not_found"])
        successor = (f"sub-{anna.user.uuid}", fresh.sign_up().user.uuid)
        connection.execute("UPDATE users SET cognito_user_id = %s WHERE uuid = %s", successor)
        assert anna.inbox() == []


def test_missing_keys_of_the_pool_are_a_503(api: Api) -> None:
    with api.variant(cognito_jwks_url="http://127.0.0.1:1/jwks.json") as cut_off:
        response = cut_off.sign_up().get(INBOX)
    assert refused(response) == (503, ["identity_provider_unavailable"])
    assert response.headers["Retry-After"] == "1"


def test_short_profile_needs_no_token(api: Api) -> None:
    anna = api.sign_up("anna")
    response = api.app.test_client().get(f"/api/users/@{anna.user.handle}/short")
    assert ok(response) == {"uuid": anna.user.uuid, "handle": anna.user.handle, "display_name": "Anna"}


@pytest.mark.parametrize("handle", ["nobody", "%00", "%ed%a0%80", "%ff", "x" * 9000, "%25", "@", "' OR 1=1"])
def test_handle_of_no_user_is_not_found(api: Api, handle: str) -> None:
    assert refused(api.app.test_client().get(f"/api/users/@{handle}/short")) == (404, ["user_not_found"])
