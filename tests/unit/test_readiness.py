"""tools/deploy/readiness.py: what a deployment says while the API is not ready, and the keys that it hands on."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.serving import make_ssl_devcert

from tests.support.scripted_server import HTML, Reaction, ScriptedServer, hang, reset, response, send
from tests.support.tokens import TokenIssuer
from tools.deploy import readiness
from tools.deploy.readiness import KeysNotFetched, NotReady, published_keys, wait_until_ready

BALANCER = "cruddur-1.us-east-2.elb.amazonaws.com"
POOL = "us-east-1_Test00001"
READY = response(b'{"success": true, "keys_from": "user_pool"}')


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "READY_SECONDS", 0.3)
    monkeypatch.setattr(readiness, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(readiness, "_ATTEMPT_SECONDS", 0.1)
    monkeypatch.setenv("NO_PROXY", "*")


def refusal(status: bytes, codes: list[str]) -> Reaction:
    return send(response(json.dumps(codes).encode(), status=status))


@pytest.mark.parametrize(
    ("reaction", "cause"),
    [
        (
            refusal(b"503 Any", ["postgres_unavailable"]),
            "status 503 postgres_unavailable; docs/troubleshooting.md says",
        ),
        (send(HTML % 503), "status 503; no container is healthy yet"),
        (send(HTML % 502), "status 502; no container is healthy yet"),
        (send(HTML % 403), "status 403; the firewall refuses this address"),
        (send(HTML % 404), f"status 404; does 127.0.0.1 lead to {BALANCER}?"),
        (send(HTML % 200), "no response (JSONDecodeError("),
        (send(response(b"[]")), "no response (ValueError("),
        (reset, "no response ("),
        (hang, "no response (TimeoutError("),
    ],
)
def test_cause_is_said_once_until_the_api_is_ready(reaction: Reaction, cause: str) -> None:
    with ScriptedServer() as api:
        api.script[:] = [reaction, reaction, send(READY)]
        first, last = wait_until_ready(api.url, BALANCER)
        assert len(api.requests) == 3
    assert first.startswith(f"{api.url}/api/ready: {cause}")
    assert first.endswith("Waiting …")
    assert last == f"{api.url} is ready"


def test_each_new_cause_is_said() -> None:
    with ScriptedServer() as api:
        api.script[:] = [send(HTML % 503), refusal(b"503 Any", ["dynamodb_unavailable"]), send(READY)]
        assert len(list(wait_until_ready(api.url, BALANCER))) == 3


def test_host_without_an_address_needs_a_cname() -> None:
    lines = wait_until_ready("https://api.cruddur.invalid", BALANCER)
    assert f"api.cruddur.invalid has no address; make it a CNAME of {BALANCER}" in next(lines)
    with pytest.raises(NotReady, match=r"Not ready after 0 s\. .* make it a CNAME"):
        list(lines)


def test_certificate_of_another_name_is_named(tmp_path: Path) -> None:
    certificate, key = make_ssl_devcert(str(tmp_path / "certificate"), cn="elsewhere.example.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ScriptedServer(context) as api:
        assert "the certificate is not valid for 127.0.0.1 (" in next(wait_until_ready(api.url, BALANCER))


def test_closed_port_is_no_response_and_the_wait_ends() -> None:
    with pytest.raises(NotReady, match="no response .*ConnectionRefusedError"):
        list(wait_until_ready("http://127.0.0.1:1", BALANCER))


def test_life_on_the_fallback_is_said() -> None:
    with ScriptedServer() as api:
        api.script[:] = [send(response(b'{"success": true, "keys_from": "fallback"}'))]
        ready, warning = wait_until_ready(api.url, BALANCER)
    assert ready.endswith("is ready")
    assert warning.startswith("But it cannot fetch the public keys of the user pool")


def session_at(url: str) -> Any:
    return SimpleNamespace(client=lambda service: SimpleNamespace(meta=SimpleNamespace(endpoint_url=url)))


def test_same_keys_give_the_same_text_in_any_order() -> None:
    with TokenIssuer() as pool:
        first = pool.key.jwk
        second = pool.rotate().jwk
        texts = []
        for keys in ([first, second], [second, dict(reversed(first.items()))]):
            pool.jwks = {"keys": keys}
            texts.append(published_keys(session_at(pool.url), POOL))
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["keys"] == [first, second]
    assert len(texts[0]) < 4096  # the longest parameter of CloudFormation


@pytest.mark.parametrize(
    "jwks", [b"<html>", b"[]", b"{}", {"keys": []}, {"keys": None}, {"keys": [{}]}, {"keys": ["first"]}]
)
def test_malformed_keys_are_not_handed_on(jwks: Any) -> None:
    with TokenIssuer() as pool:
        pool.jwks = jwks
        with pytest.raises(KeysNotFetched, match="cannot be fetched from"):
            published_keys(session_at(pool.url), POOL)
