"""The user pool: its endpoint, and the responses of GetUser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from lib.config import CognitoSettings
from lib.identity import cognito
from lib.identity.cognito import CognitoError, TokenRevoked, UserInfo, UserPool
from tests.support.scripted_server import (
    HTML,
    Reaction,
    ScriptedServer,
    hang,
    refusal,
    reset,
    response,
    send,
    send_and_close,
)

KNOWN = response(json.dumps({"UserAttributes": [{"Name": "sub", "Value": "s"}, {"Name": "name"}]}).encode())


def settings(url: str | None = None) -> CognitoSettings:
    return CognitoSettings(
        aws_default_region="us-east-1",
        aws_cognito_user_pool_id="eu-west-1_Test00001",
        aws_cognito_user_pool_client_id="a client",
        aws_endpoint_url_cognito_identity_provider=url,
    )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setattr(cognito, "_TRY_SECONDS", 0.2)
    with ScriptedServer() as server:
        server.respond = lambda body: KNOWN
        yield server


def test_pool_has_its_own_region() -> None:
    url = "https://cognito-idp.eu-west-1.amazonaws.com"
    assert UserPool(settings())._client.meta.endpoint_url == url
    with patch("lib.identity.cognito.Connections") as connections:
        UserInfo(settings())
    assert connections.call_args.args == (url,)


def test_get_user_is_one_unsigned_call_on_a_persistent_connection(server: ScriptedServer) -> None:
    info = UserInfo(settings(server.url))
    assert [info.attributes("a token") for _ in range(3)] == [{"sub": "s"}] * 3
    head, body = server.requests[-1]
    assert (json.loads(body), server.connections) == ({"AccessToken": "a token"}, 1)
    assert b"authorization" not in head.lower()
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in head


@pytest.mark.parametrize("code", sorted(cognito._TOKEN_REFUSALS))
def test_refused_token_is_revoked(server: ScriptedServer, code: str) -> None:
    server.script[:] = [send(refusal(code))]
    with pytest.raises(TokenRevoked, match=f"^GetUser: {code}$"):
        UserInfo(settings(server.url)).attributes("a token")
    assert len(server.requests) == 1


def test_other_refusal_is_final(server: ScriptedServer) -> None:
    server.script[:] = [send(refusal("ForbiddenException"))]
    with pytest.raises(CognitoError, match="^GetUser: ForbiddenException$") as caught:
        UserInfo(settings(server.url)).attributes("a token")
    assert (type(caught.value), len(server.requests)) == (CognitoError, 1)


FAILURES: dict[str, Reaction] = {
    "failure": send(refusal("InternalErrorException", status=b"500 Internal Server Error")),
    "HTML as 200": send(HTML % 200),
    "HTML as 403": send(HTML % 403),
    "JSON array": send(response(b"[]", status=b"400 Bad Request")),
    "response without attributes": send(response(b'{"Count": 1}')),
    "attributes without names": send(response(b'{"UserAttributes": [{"Value": "s"}]}')),
    "silence": hang,
    "reset": reset,
    "close within the body": send_and_close(KNOWN[:-3]),
}


@pytest.mark.parametrize("name", FAILURES)
def test_missing_response_is_retried_once(server: ScriptedServer, name: str) -> None:
    info = UserInfo(settings(server.url))
    server.script[:] = [FAILURES[name]]
    assert [info.attributes("a token") for _ in range(2)] == [{"sub": "s"}] * 2
    server.script[:] = [FAILURES[name]] * 2
    with pytest.raises(CognitoError, match=r"^GetUser: \w+$") as caught:
        info.attributes("a token")
    assert (type(caught.value), len(server.requests)) == (CognitoError, 5)
    assert info.attributes("a token") == {"sub": "s"}
