"""The first request of a newcomer, who signed up and has no row: the API creates the row or refuses with a code."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from werkzeug.test import TestResponse

from lib.identity import cognito
from routes.errors import RETRY_AFTER_SECONDS
from services.provisioning import REFUSED_SECONDS, Newcomers
from tests.support.api import Api, ok, refused, run_api
from tests.support.clocks import FrozenTime

INBOX = "/api/message_groups"

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture(autouse=True)
def pool_as_before(api: Api) -> Iterator[None]:
    """Undo what a test changed in the pool."""
    yield
    api.issuer.refusal = None
    api.issuer.responding.set()


def sign_up(api: Api, **attributes: str) -> str:
    """Sign up a user with Cognito alone; return their `sub`."""
    sub = str(uuid.uuid4())
    handle = f"new-{sub[:8]}"
    own = {"preferred_username": handle, "name": "New", "email": f"{handle}@example.com", "email_verified": "true"}
    api.issuer.attributes[sub] = own | attributes
    return sub


def get(api: Api, sub: str, **claims: Any) -> TestResponse:
    return get_with(api, api.issuer.authorization(sub, **claims))


def get_with(api: Api, authorization: str) -> TestResponse:
    return api.app.test_client().get(INBOX, headers={"Authorization": authorization})


def row_of(api: Api, sub: str) -> tuple[Any, ...] | None:
    with psycopg.connect(api.database_url) as connection:
        query = "SELECT handle, display_name, email FROM users WHERE cognito_user_id = %s"
        return connection.execute(query, (sub,)).fetchone()


@contextmanager
def with_clock(api: Api, clock: FrozenTime) -> Iterator[Api]:
    """The application with a clock for its cache of refusals."""
    with api.variant() as other:
        adapters = other.app.extensions["dependencies"]
        newcomers = Newcomers(adapters.newcomers._read_attributes, adapters.users, timer=clock.monotonic)
        other.app.extensions["dependencies"] = replace(adapters, newcomers=newcomers)
        yield other


def test_first_request_creates_the_user(api: Api) -> None:
    sub, anna = sign_up(api, name="Nora New"), api.sign_up("anna")
    handle = f"new-{sub[:8]}"
    sent = api.app.test_client().post(
        "/api/messages",
        headers={"Authorization": api.issuer.authorization(sub, scope="openid aws.cognito.signin.user.admin email")},
        json={"handle": anna.user.handle, "message": "Hello!"},
    )
    assert ok(sent)["handle"] == anna.inbox()[0]["handle"] == handle
    assert row_of(api, sub) == (handle, "Nora New", f"{handle}@example.com")
    assert ok(get(api, sub))[0]["message"] == "Hello!"
    assert (api.issuer.get_user_requests[sub], api.issuer.get_user_requests[f"sub-{anna.user.uuid}"]) == (1, 0)


def test_row_without_a_cognito_id_needs_a_verified_email(api: Api) -> None:
    api.execute("INSERT INTO users (handle, display_name, email) VALUES ('waiting', 'Old', 'waiting@example.com')")
    mallory = sign_up(api, preferred_username="waiting", email="waiting@example.com", email_verified="false")
    assert refused(get(api, mallory)) == (403, ["handle_taken"])
    owner = sign_up(api, preferred_username="waiting", email="waiting@example.com")
    assert ok(get(api, owner)) == []
    assert row_of(api, owner) == ("waiting", "Old", "waiting@example.com")


def test_taken_handle_is_refused(api: Api) -> None:
    anna = api.sign_up("anna")
    sub = sign_up(api, preferred_username=anna.user.handle)
    response = get(api, sub)
    assert refused(response) == (403, ["handle_taken"])
    assert "WWW-Authenticate" not in response.headers
    assert row_of(api, sub) is None


def test_user_without_a_handle_gets_no_row(api: Api) -> None:
    sub = sign_up(api, preferred_username="")
    assert refused(get(api, sub)) == (403, ["user_not_found"])
    assert row_of(api, sub) is None


@pytest.mark.parametrize("scope", [None, "", "openid email", "aws.cognito.signin.user.administrator"])
def test_token_without_the_scope_creates_no_user(api: Api, scope: str | None) -> None:
    sub = sign_up(api)
    assert refused(get(api, sub, scope=scope)) == (403, ["user_not_found"])
    assert api.issuer.get_user_requests[sub] == 0


@pytest.mark.parametrize(
    "refusal",
    ["NotAuthorizedException", "UserNotFoundException", "PasswordResetRequiredException", "UserNotConfirmedException"],
)
def test_revoked_token_is_challenged(api: Api, refusal: str) -> None:
    api.issuer.refusal = refusal
    response = get(api, sign_up(api))
    assert refused(response) == (401, ["token_invalid"])
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_old_token_gives_a_deleted_user_no_new_row_and_a_new_token_does(api: Api) -> None:
    sub, now = sign_up(api), int(time.time())
    with api.variant() as process:
        ok(get(process, sub, iat=now))
    api.execute("DELETE FROM users WHERE cognito_user_id = %s", sub)
    old = [{"iat": now}, {"iat": now, "scope": None}, {"iat": None}]
    for _ in ("before the new row", "after it"):
        with api.variant() as process:
            for claims in old:
                response = get(process, sub, **claims)
                assert refused(response) == (401, ["token_revoked"])
                assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
            assert ok(get(process, sub, iat=now + 5)) == []
    assert row_of(api, sub) is not None


def test_disabled_row_that_waited_for_its_user_lets_nobody_in(api: Api) -> None:
    sub = sign_up(api)
    handle = f"new-{sub[:8]}"
    api.execute(
        "INSERT INTO users (handle, display_name, email, disabled_at) VALUES (%s, 'W', %s, now())",
        *(handle, f"{handle}@example.com"),
    )
    assert refused(get(api, sub)) == (401, ["token_revoked"])
    assert row_of(api, sub) is not None


@pytest.mark.parametrize(
    "refusal", ["InternalErrorException", "TooManyRequestsException", "ResourceNotFoundException", "ForbiddenException"]
)
def test_failure_of_cognito_is_a_503(api: Api, refusal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    api.issuer.refusal = refusal
    assert_unavailable(get(api, sign_up(api)))


def assert_unavailable(response: TestResponse) -> None:
    assert refused(response) == (503, ["identity_provider_unavailable"])
    assert response.headers["Retry-After"] == "1"


def test_outage_of_cognito_stops_newcomers_alone(api: Api) -> None:
    anna, sub = api.sign_up(), sign_up(api)
    anna.inbox()
    clock = FrozenTime()
    with with_clock(api, clock) as patient:
        ok(get_with(patient, anna.authorization))
        api.issuer.stop()
        try:
            authorization = api.issuer.authorization(sub)
            assert_unavailable(get_with(patient, authorization))
            assert anna.inbox() == []
        finally:
            api.issuer.start()
        clock.ahead += RETRY_AFTER_SECONDS
        assert ok(get_with(patient, authorization)) == []


def test_hanging_cognito_is_a_503_in_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cognito._TRIES * cognito._TRY_SECONDS <= 4
    monkeypatch.setattr(cognito, "_TRY_SECONDS", 0.1)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    with api.variant() as hurried:
        hurried.sign_up().inbox()  # fetches the keys
        api.issuer.responding.clear()
        began = time.monotonic()
        assert_unavailable(get(hurried, sign_up(api)))
        assert time.monotonic() - began < 1
        api.issuer.responding.set()


@pytest.mark.parametrize(
    ("attributes", "refusal"),
    [({"preferred_username": ""}, None), ({}, "NotAuthorizedException"), ({}, "ForbiddenException")],
)
def test_repeated_requests_reach_cognito_once(api: Api, attributes: dict[str, str], refusal: str | None) -> None:
    sub, clock = sign_up(api, **attributes), FrozenTime()
    authorization = api.issuer.authorization(sub)
    api.issuer.refusal = refusal
    with with_clock(api, clock) as polled:
        refusals = [refused(get_with(polled, authorization)) for _ in range(5)]
        assert refusals == refusals[:1] * 5
        assert api.issuer.get_user_requests[sub] == 1
        clock.ahead += REFUSED_SECONDS
        assert refused(get_with(polled, authorization)) == refusals[0]
        assert api.issuer.get_user_requests[sub] == 2


def test_new_token_is_tried_after_a_refusal(api: Api) -> None:
    sub = sign_up(api)
    api.issuer.refusal = "NotAuthorizedException"
    assert get(api, sub).status_code == 401
    api.issuer.refusal = None
    assert get(api, sub, jti="another").status_code == 200


def test_log_holds_no_email_and_no_token(api: Api) -> None:
    sub, other = sign_up(api), sign_up(api)
    authorization = api.issuer.authorization(sub)
    get_with(api, authorization)
    api.issuer.refusal = "ForbiddenException"
    get(api, other)  # Cognito repeats the token in its message
    lines = api.lines()
    [provisioned] = [line for line in lines if line["event"] == "user_provisioned" and line["sub"] == sub]
    assert provisioned["outcome"] == "created"
    [refusal] = [line for line in lines if line["event"] == "unavailable"][-1:]
    assert refusal["cause"] == "CognitoError('GetUser: ForbiddenException')"
    assert not any(text in json.dumps(lines) for text in ("@example.com", "eyJ", authorization))


def test_names_in_a_token_are_ignored(api: Api) -> None:
    anna, sub = api.sign_up("anna"), sign_up(api)
    assert get(api, sub, preferred_username=anna.user.handle, name="Anna").status_code == 200
    assert row_of(api, sub) == (f"new-{sub[:8]}", "New", f"new-{sub[:8]}@example.com")
