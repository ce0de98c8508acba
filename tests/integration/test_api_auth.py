"""Authentication over HTTP: each refusal with its challenge, removed users, and the short profile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from lib.identity.tokens import COOLDOWN_SECONDS
from lib.users.directory import UserDirectory
from tests.support.api import Api, ok, refused, run_api
from tests.support.api_server import ApiServer
from tests.support.clocks import time_limit
from tests.support.scripted_server import ScriptedServer, response, send
from tests.support.tokens import TokenIssuer
from tools.local_stack.processes import LOOPBACK, EngineError
from tools.local_stack.tokens import SigningKey

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
    with api.variant() as fresh, psycopg.connect(api.database_url, autocommit=True) as connection:
        adapters = fresh.app.extensions["dependencies"]
        users = UserDirectory(adapters.users._database, timer=lambda: now)
        fresh.app.extensions["dependencies"] = replace(adapters, users=users)
        anna = fresh.sign_up()
        anna.inbox()
        connection.execute("DELETE FROM users WHERE uuid = %s", (anna.user.uuid,))
        now += 59
        anna.inbox()
        now += 1
        assert refused(anna.get(INBOX)) == (401, ["token_revoked"])
        successor = (f"sub-{anna.user.uuid}", fresh.sign_up().user.uuid)
        connection.execute("UPDATE users SET cognito_user_id = %s WHERE uuid = %s", successor)
        assert anna.inbox() == []


def test_missing_keys_of_the_pool_are_a_503(api: Api) -> None:
    with api.variant(cognito_jwks_url="http://127.0.0.1:1/jwks.json") as cut_off:
        response = cut_off.sign_up().get(INBOX)
    assert refused(response) == (503, ["identity_provider_unavailable"])
    assert response.headers["Retry-After"] == "1"


def test_rotation_signs_nobody_out_while_forgers_send_unknown_kids(api: Api, tmp_path: Path) -> None:
    anna = api.sign_up()
    sub = f"sub-{anna.user.uuid}"
    with (
        TokenIssuer() as issuer,
        api_server(api, tmp_path, COGNITO_JWKS_URL=issuer.jwks_url) as status_of,
    ):
        forged = issuer.authorization(sub, headers={"kid": "forged"})
        assert status_of(anna.authorization) == 200
        time.sleep(COOLDOWN_SECONDS)
        assert status_of(forged) == 401
        issuer.rotate()
        rotated = issuer.authorization(sub)
        wrong = issuer.authorization(sub, token_use="id")
        tokens = (rotated, forged, wrong, anna.authorization)
        assert [status_of(token) for token in tokens] == [503, 503, 401, 200]
        time.sleep(COOLDOWN_SECONDS)
        assert [status_of(token) for token in (forged, rotated)] == [401, 200]


def test_server_that_starts_without_the_key_host_uses_the_fallback_until_the_host_is_back(
    api: Api, tmp_path: Path
) -> None:
    anna = api.sign_up()
    sub = f"sub-{anna.user.uuid}"
    with TokenIssuer() as issuer:
        variables = {"COGNITO_JWKS_URL": issuer.jwks_url, "COGNITO_JWKS_FALLBACK": json.dumps(issuer.jwks)}
        new = issuer.rotate()
        issuer.stop()
        with api_server(api, tmp_path, **variables) as status_of:
            forged = issuer.authorization(sub, key=SigningKey.generate("first"))
            tokens = (anna.authorization, issuer.authorization(sub, key=new), forged)
            assert [status_of(token) for token in tokens] == [200, 503, 401]
            issuer.start()
            time.sleep(COOLDOWN_SECONDS)
            old = api.issuer.authorization(sub, iat=int(time.time()) - 1)  # another token: the first one is cached
            assert [status_of(token) for token in (issuer.authorization(sub, key=new), old)] == [200, 503]
            time.sleep(COOLDOWN_SECONDS)
            assert status_of(old) == 401


def test_malformed_fallback_of_the_keys_stops_the_start(api: Api, tmp_path: Path) -> None:
    with pytest.raises(EngineError), api_server(api, tmp_path, COGNITO_JWKS_FALLBACK="{}"):
        pass
    assert "COGNITO_JWKS_FALLBACK is not a set of signing keys" in (tmp_path / "log").read_text()


def test_dripping_jwks_host_holds_no_request_past_two_seconds(api: Api, tmp_path: Path) -> None:
    anna = api.sign_up()
    drip = send(*(bytes([byte]) for byte in response(b"x" * 100)), pause=0.1)
    with ScriptedServer() as host, api_server(api, tmp_path, COGNITO_JWKS_URL=host.url) as status_of:
        host.script[:] = [drip]
        with time_limit(2.8), ThreadPoolExecutor(8) as threads:
            assert list(threads.map(status_of, [anna.authorization] * 8)) == [503] * 8
        assert len(host.requests) == 1


@contextmanager
def api_server(api: Api, folder: Path, **variables: str) -> Iterator[Callable[[str], int]]:
    """A server with one worker; a function that requests the inbox by an Authorization header."""
    with ApiServer(folder / "log", **api.server_variables() | {"WEB_CONCURRENCY": "1"} | variables) as server:

        def status_of(authorization: str) -> int:
            with closing(HTTPConnection(LOOPBACK, server.port, timeout=10)) as connection:
                connection.request("GET", INBOX, headers={"Authorization": authorization})
                response = connection.getresponse()
                assert response.headers["Retry-After"] == ("1" if response.status == 503 else None)
                return response.status

        yield status_of


def test_short_profile_needs_no_token(api: Api) -> None:
    anna = api.sign_up("anna")
    response = api.app.test_client().get(f"/api/users/@{anna.user.handle}/short")
    assert ok(response) == {"uuid": anna.user.uuid, "handle": anna.user.handle, "display_name": "Anna"}


@pytest.mark.parametrize("handle", ["ann/bert", "..", "?#", "%00"])
def test_older_handle_has_a_profile(api: Api, handle: str) -> None:
    api.execute("INSERT INTO users (handle, display_name, email) VALUES (%s, 'Ann', 'a@a.test')", handle)
    assert ok(api.app.test_client().get(f"/api/users/@{quote(handle, safe='')}/short"))["handle"] == handle


@pytest.mark.parametrize("handle", ["nobody", "a%2Fb", "%00", "%ed%a0%80", "%ff", "x" * 9000, "%25", "@", "' OR 1=1"])
def test_handle_of_no_user_is_not_found(api: Api, handle: str) -> None:
    assert refused(api.app.test_client().get(f"/api/users/@{handle}/short")) == (404, ["user_not_found"])
