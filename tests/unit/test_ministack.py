"""A persistent ministack keeps its port and its state, and names what it could not save or read.

It serves three services, and of these a page of the front end gets the sign-in alone.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest

from tools.local_stack.cognito import POOL_NAME, ensure_pool
from tools.local_stack.ministack import Ministack
from tools.local_stack.processes import LOOPBACK, EngineError


def ministack(folder: Path) -> Ministack:
    return Ministack(folder / "ministack", log=folder / "log", persistent=True)


def fill(engine: Ministack) -> None:
    with closing(boto3.client("cognito-idp", endpoint_url=engine.url)) as client:
        ensure_pool(client)
    with closing(boto3.client("dynamodb", endpoint_url=engine.url)) as client:
        client.list_tables()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the state of a first run."""
    engine = ministack(tmp_path)
    engine.start()
    fill(engine)
    engine.stop_and_save(has_data=True)
    return tmp_path


def test_port_stays_the_same_while_it_is_free(folder: Path) -> None:
    first = ministack(folder).url
    assert ministack(folder).url == first
    with socket.create_server((LOOPBACK, urlsplit(first).port or 0)):
        second = ministack(folder).url
    assert second != first
    assert ministack(folder).url == second


def test_unreadable_state_is_named_and_kept(folder: Path) -> None:
    state = folder / "ministack/state/cognito.json"
    content = state.read_bytes()
    state.write_bytes(content[:-10])
    engine = ministack(folder)
    with pytest.raises(EngineError, match=f"ministack cannot read {state}"):
        engine.start()
    assert state.read_bytes() == content[:-10]
    assert engine.pid is None


def test_crash_is_reported_as_a_loss_and_the_older_state_stays(folder: Path) -> None:
    state = folder / "ministack/state/cognito.json"
    content = state.read_bytes()
    assert POOL_NAME.encode() in content
    engine = ministack(folder)
    engine.start()
    os.kill(engine.pid or 0, signal.SIGKILL)
    with pytest.raises(EngineError, match="DynamoDB and Cognito: the changes since the last stop were not saved"):
        engine.stop_and_save(has_data=False)
    assert state.read_bytes() == content


def test_first_start_that_is_interrupted_loses_nothing(tmp_path: Path) -> None:
    engine = ministack(tmp_path)
    engine.start()
    engine.stop_and_save(has_data=False)


PAGE = "http://localhost:3000"
COGNITO, DYNAMODB = "AWSCognitoIdentityProviderService", "DynamoDB_20120810"

# Requests to services that run code, or that lead to one; a web page can send those without a signature.
OTHER_SERVICES = [
    ("lambda", "POST", "/2015-03-31/functions"),
    ("lambda", "POST", "/2015-03-31/functions/name/invocations"),
    ("cloudformation", "POST", "/?Action=CreateStack&StackName=name"),
    ("states", "POST", "/"),
    ("s3", "PUT", "/bucket"),
    ("s3", "POST", "/v20180820/accesspoint"),
    ("ses", "POST", "/v2/email/identities"),
    ("ecr", "GET", "/v2/_catalog"),
    ("iam", "POST", "/?Action=CreateRole&RoleName=name"),
    ("cognito-idp", "POST", "/"),
    ("cognito-idp", "GET", "/oauth2/authorize"),
    ("ministack", "POST", "/_ministack/reset"),
    ("ministack", "POST", "/_ministack/config"),
]


class Caller:
    """Sends requests to a ministack."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc

    def status(self, target: str = "", method: str = "POST", path: str = "/", **headers: str) -> int:
        with closing(http.client.HTTPConnection(self.host, timeout=5)) as connection:
            targets = {"X-Amz-Target": target} if target else {}
            defaults = {"Content-Type": "text/plain", "Host": self.host}
            connection.request(method, path, "{}", defaults | targets | headers)
            response = connection.getresponse()
            response.read()
        return response.status


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    folder = tmp_path_factory.mktemp("caller")
    with Ministack(folder, log=folder / "log", persistent=False, origins=PAGE) as engine:
        yield Caller(engine.url)


@pytest.mark.parametrize(("service", "method", "path"), OTHER_SERVICES)
@pytest.mark.parametrize("is_signed", [True, False])
def test_all_but_three_services_is_refused(
    service: str, method: str, path: str, is_signed: bool, caller: Caller
) -> None:
    scope = f"Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}"} if is_signed else {}
    assert caller.status(method=method, path=path, **headers) == 403


@pytest.mark.parametrize("host", ["bucket.s3.localhost", "evil.example", "localhost:1"])
def test_other_host_names_are_refused(host: str, caller: Caller) -> None:
    assert caller.status(f"{DYNAMODB}.ListTables") == 200
    assert caller.status(f"{DYNAMODB}.ListTables", Host=host) == 403
    assert caller.status(method="PUT", Host=host) == 403


def test_page_of_the_front_end_calls_only_what_aws_gives_to_everybody(caller: Caller) -> None:
    assert caller.status(method="OPTIONS", Origin=PAGE) == 200
    assert caller.status(f"{COGNITO}.InitiateAuth", Origin=PAGE) == 400  # for its empty body
    for target in (f"{COGNITO}.AdminSetUserPassword", f"{COGNITO}.ListUsers", f"{DYNAMODB}.ListTables"):
        assert caller.status(target, Origin=PAGE) == 403


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://localhost:30000"])
def test_other_pages_are_refused(origin: str, caller: Caller) -> None:
    assert caller.status(method="OPTIONS", Origin=origin) == 403
    for target in (f"{COGNITO}.InitiateAuth", f"{COGNITO}.AdminSetUserPassword", f"{DYNAMODB}.ListTables"):
        assert caller.status(target, Origin=origin) == 403
