"""Signing in over HTTP: what is refused, and that a token alone makes nobody a user."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from lib.users.directory import UserDirectory
from tests.support.api import Api, Person, ok, refused, run_api

INBOX = "/api/message_groups"

api = pytest.fixture(scope="module")(run_api)


def challenge(error: str, description: str) -> str:
    return f'Bearer realm="cruddur", error="{error}", error_description="{description}"'


@pytest.mark.parametrize(
    ("authorization", "code", "error"),
    [
        ("Bearer", "token_malformed", "invalid_request"),
        ("Bearer a b", "token_malformed", "invalid_request"),
        ("Basic YTpi", "token_malformed", "invalid_request"),
        ("Token x", "token_malformed", "invalid_request"),
        ("Bearer ü", "token_malformed", "invalid_request"),
        ("Bearer " + "x" * 8000, "token_invalid", "invalid_token"),
        ("Bearer x", "token_invalid", "invalid_token"),
        ("Bearer a.b.c", "token_invalid", "invalid_token"),
    ],
)
def test_a_bad_header_is_challenged(api: Api, authorization: str, code: str, error: str) -> None:
    response = api.app.test_client().get(INBOX, headers={"Authorization": authorization})
    assert refused(response) == (401, [code])
    assert response.headers["WWW-Authenticate"] == challenge(error, code)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": 1}, "token_expired"),
        ({"token_use": "id"}, "token_invalid"),
        ({"headers": {"kid": "unknown"}}, "token_invalid"),
    ],
)
def test_a_token_that_is_not_good_is_challenged(api: Api, claims: dict[str, Any], code: str) -> None:
    anna = api.sign_up()
    authorization = api.issuer.authorization(**{"sub": f"sub-{anna.user.uuid}", **claims})
    response = anna.client.get(INBOX, headers={"Authorization": authorization})
    assert refused(response) == (401, [code])
    assert response.headers["WWW-Authenticate"] == challenge("invalid_token", code)


@pytest.mark.parametrize("sub", ["unknown", "a\0b", "\ud7ff", "x" * 300])
def test_a_valid_token_of_nobody_here_is_forbidden(api: Api, sub: str) -> None:
    response = api.app.test_client().get(INBOX, headers={"Authorization": api.issuer.authorization(sub)})
    assert refused(response) == (403, ["user_not_found"])
    assert "WWW-Authenticate" not in response.headers


def test_who_is_removed_is_a_user_for_a_minute_at_most(api: Api) -> None:
    now = time.monotonic()
    with api.variant() as fresh:
        adapters = fresh.app.extensions["dependencies"]
        users = UserDirectory(adapters.users._database, timer=lambda: now)
        fresh.app.extensions["dependencies"] = replace(adapters, users=users)
        anna = fresh.sign_up()
        anna.inbox()
        remove(api, anna)
        now += 59
        anna.inbox()
        now += 1
        assert refused(anna.get(INBOX)) == (403, ["user_not_found"])


def remove(api: Api, person: Person) -> None:
    with psycopg.connect(api.settings.database_url) as connection:
        connection.execute("DELETE FROM users WHERE uuid = %s", (person.user.uuid,))


def test_who_signs_up_after_a_refusal_is_let_in_at_once(api: Api) -> None:
    anna = api.sign_up()
    remove(api, anna)
    assert anna.get(INBOX).status_code == 403
    with psycopg.connect(api.settings.database_url) as connection:
        connection.execute(
            "INSERT INTO users (handle, display_name, email, cognito_user_id) VALUES (%s, 'A', 'a@example.com', %s)",
            (anna.user.handle, f"sub-{anna.user.uuid}"),
        )
    assert anna.inbox() == []


def test_without_the_pools_keys_nothing_is_decided(api: Api) -> None:
    with api.variant(cognito_jwks_url="http://127.0.0.1:1/jwks.json") as cut_off:
        response = cut_off.sign_up().get(INBOX)
    assert refused(response) == (503, ["identity_provider_unavailable"])
    assert response.headers["Retry-After"] == "1"


def test_anyone_may_ask_who_has_a_handle(api: Api) -> None:
    anna = api.sign_up("anna")
    response = api.app.test_client().get(f"/api/users/@{anna.user.handle}/short")
    assert ok(response) == {"uuid": anna.user.uuid, "handle": anna.user.handle, "display_name": "Anna"}


@pytest.mark.parametrize(
    "handle", ["nobody", "%00", "a%00b", "%ed%a0%80", "%ff", "x" * 9000, "☃", "%25", "@", "' OR 1=1"]
)
def test_a_handle_that_nobody_has_is_not_found(api: Api, handle: str) -> None:
    assert refused(api.app.test_client().get(f"/api/users/@{handle}/short")) == (404, ["user_not_found"])
