"""The user pool: where it is asked, and what GetUser's answers mean. What else it is asked: tests/integration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from lib.config import CognitoSettings
from lib.identity import cognito
from lib.identity.cognito import CognitoError, TokenRevoked, UserInfo, UserPool
from tests.support.scripted_server import GOOD, Play, ScriptedServer, end, reset, say, wait

KNOWN = json.dumps({"UserAttributes": [{"Name": "sub", "Value": "s"}, {"Name": "name"}]}).encode()
HTML = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: 11\r\n\r\n<html>no</a"


def settings(url: str | None = None) -> CognitoSettings:
    return CognitoSettings(
        aws_default_region="us-east-1",
        aws_cognito_user_pool_id="eu-west-1_Test00001",
        aws_cognito_user_pool_client_id="a client",
        aws_endpoint_url_cognito_identity_provider=url,
    )


def said(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def refusal(code: str, status: bytes = b"400 Bad Request") -> bytes:
    return said(status, json.dumps({"__type": code, "message": "eyJ"}).encode())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setattr(cognito, "_TRY_SECONDS", 0.2)
    with ScriptedServer() as server:
        server.answer = lambda body: said(b"200 OK", KNOWN)
        yield server


def test_a_pool_is_asked_in_its_own_region_whatever_the_tables_is() -> None:
    url = "https://cognito-idp.eu-west-1.amazonaws.com"
    assert UserPool(settings())._client.meta.endpoint_url == url
    with patch("lib.identity.cognito.Connections") as connections:
        UserInfo(settings())
    assert connections.call_args.args == (url,)


def test_get_user_is_one_unsigned_call_on_a_kept_connection(server: ScriptedServer) -> None:
    info = UserInfo(settings(server.url))
    assert [info.attributes("a token") for _ in range(3)] == [{"sub": "s"}] * 3
    head, body = server.requests[-1]
    assert (json.loads(body), server.connections) == ({"AccessToken": "a token"}, 1)
    assert b"authorization" not in head.lower()
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in head


@pytest.mark.parametrize("code", sorted(cognito._TOKEN_REFUSALS))
def test_a_token_that_is_refused_is_revoked(server: ScriptedServer, code: str) -> None:
    server.plays[:] = [say(refusal(f"com.amazonaws#{code}"))]
    with pytest.raises(TokenRevoked, match=f"^GetUser: {code}$"):
        UserInfo(settings(server.url)).attributes("a token")
    assert len(server.requests) == 1


def test_another_refusal_is_final(server: ScriptedServer) -> None:
    server.plays[:] = [say(refusal("ForbiddenException"))]
    with pytest.raises(CognitoError, match="^GetUser: ForbiddenException$") as caught:
        UserInfo(settings(server.url)).attributes("a token")
    assert (type(caught.value), len(server.requests)) == (CognitoError, 1)


FAILURES: dict[str, Play] = {
    "failing": say(refusal("InternalErrorException", b"500 Internal Server Error")),
    "HTML": say(HTML % b"200 OK"),
    "HTML of a 403": say(HTML % b"403 Forbidden"),
    "no object": say(said(b"400 Bad Request", b"[]")),
    "another service's": say(GOOD),
    "attributes without names": say(said(b"200 OK", b'{"UserAttributes": [{"Value": "s"}]}')),
    "silence": wait,
    "reset": reset,
    "broken off": end(said(b"200 OK", KNOWN)[:-3]),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_is_no_answer_is_asked_for_twice(server: ScriptedServer, name: str) -> None:
    info = UserInfo(settings(server.url))
    server.plays[:] = [FAILURES[name]]
    assert [info.attributes("a token") for _ in range(2)] == [{"sub": "s"}] * 2
    server.plays[:] = [FAILURES[name]] * 2
    with pytest.raises(CognitoError, match=r"^GetUser: \w+$") as caught:
        info.attributes("a token")
    assert (type(caught.value), len(server.requests)) == (CognitoError, 5)
    assert info.attributes("a token") == {"sub": "s"}
