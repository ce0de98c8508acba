"""The DynamoDB client on the wire: responses and failures, tries and their time, connections, TLS, credentials."""

from __future__ import annotations

import json
import os
import random
import shlex
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from werkzeug.serving import make_ssl_devcert

from lib.aws.connections import CONNECT_SECONDS, MAX_RESPONSE_BYTES, Connections
from lib.aws.dynamodb_client import TRIES, TRY_SECONDS, DynamoDBClient
from lib.aws.errors import THROTTLING, NoResponse
from lib.aws.metering import start_metering
from lib.config import DynamoDBSettings, SettingsError
from lib.ddb.errors import RequestRejected, StoreUnavailable
from lib.ddb.table import Table
from lib.deadline import deadline
from tests.support.clocks import time_limit
from tests.support.scripted_server import (
    HEADERS,
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

SECONDS = 0.3  # for a try


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.aws.dynamodb_client.TRY_SECONDS", SECONDS)
    monkeypatch.setattr("lib.aws.dynamodb_client._FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("lib.aws.connections.CONNECT_SECONDS", SECONDS / 2)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that returns the request's Limit as the Count."""
    with ScriptedServer() as server:
        server.respond = lambda body: response(b'{"Count": %d}' % json.loads(body).get("Limit", 0))
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[DynamoDBClient]:
    with closing(client_of(server.url)) as client:
        yield client


def client_of(url: str) -> DynamoDBClient:
    return DynamoDBClient(DynamoDBSettings(aws_default_region="us-east-1", aws_endpoint_url_dynamodb=url), pool_size=4)


def count(client: DynamoDBClient, limit: int) -> int:
    return int(client.query(TableName="messages", Limit=limit)["Count"])


BODY = '{"Items": [{"pk": {"S": "MSG#ä"}, "n": {"N": "1"}}], "Count": 1}'.encode()
GOOD = response(BODY)
UNSIZED = b"HTTP/1.1 200 OK\r\n" + HEADERS + b"\r\n" + BODY
CHUNKED = (
    b"HTTP/1.1 200 OK\r\n" + HEADERS + b"Transfer-Encoding: chunked\r\n\r\n"
    b"5\r\n" + BODY[:5] + b"\r\n%x;extension=1\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n0\r\n\r\n"
)
UNTYPED = (b"1", b'{"message": "no"}', b'{"__type": null}')

RESPONSES: dict[str, Reaction] = {  # all count to 1
    "in small parts": send(*(GOOD[start : start + 30] for start in range(0, len(GOOD), 30)), pause=0.002),
    "in chunks": send(CHUNKED),
    "in chunks, with a length": send(CHUNKED.replace(b"Transfer-", b"Content-Length: 3\r\nTransfer-")),
    "in chunks, in parts": send(CHUNKED[:70], CHUNKED[70:150], CHUNKED[150:], pause=0.02),
    "without a length": send_and_close(UNSIZED),
    "of HTTP/1.0": send_and_close(GOOD.replace(b"HTTP/1.1", b"HTTP/1.0")),
    "after a 100": send(b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD),
    "announced close": send_and_close(GOOD.replace(b"\r\n", b"\r\nConnection: keep-alive, Close\r\n", 1)),
    "unannounced close": send_and_close(GOOD),
    "header in two lines": send(response(BODY, b"X-Long: a,\r\n b", b"X-Empty:")),
    "large": send(response(json.dumps({"Count": 1, "Items": ["ä" * 999] * 300}).encode())),
    "with junk after it": send(GOOD + b"junk"),
    "with more junk after it than one read takes": send(GOOD + response(b'{"Count": 666}') * 999),
}
BROKEN_CONNECTIONS = {"unannounced close", "with junk after it", "with more junk after it than one read takes"}
FAILURES: dict[str, Reaction] = {
    "two lengths": send(response(BODY, b"Content-Length: 2")),
    "wrong checksum": send(response(BODY, b"x-amz-crc32: 1")),
    "wrong checksum of a refusal": send(refusal("X", b"x-amz-crc32: 1")),
    **{f"HTML as {status}": send(HTML % status) for status in (200, 301, 400, 403, 429, 503)},
    **{f"refusal of {body!r}": send(response(body, status=b"400 Bad Request")) for body in UNTYPED},
    "103, then the response": send(b"HTTP/1.1 103 Early Hints\r\n\r\n", GOOD, pause=0.02),
    "JSON of another service": send(GOOD.replace(b"x-amz-json-1.0", b"json")),
    "JSON array": send(response(b"[]")),
    "empty 200": send(response(b"")),
    "empty 500": send(response(b"", status=b"500 Internal Server Error")),
    "close": send_and_close(),
    "reset": reset,
    "close within the headers": send_and_close(GOOD[:60]),
    "close within the body": send_and_close(GOOD[:-3]),
    "close within the chunks": send_and_close(CHUNKED[:-12]),
    "close within a body without a length": send_and_close(UNSIZED[:-3]),
    "larger than any of DynamoDB": send_and_close(UNSIZED + b" " * MAX_RESPONSE_BYTES),
    "with the length of a petabyte": send(GOOD.replace(b"Content-Length: ", b"Content-Length: 9999999999999")),
    "not HTTP": send_and_close(b"nonsense\r\n\r\n"),
    "malformed status": send_and_close(b"HTTP/1.1 ok\r\n\r\n"),
    "silence": hang,
    "silence within the body": lambda connection: send(GOOD[:-3])(connection) or hang(connection),
    "byte by byte": send(*(bytes([byte]) for byte in GOOD), pause=SECONDS / 20),
}
PASSING = {
    **{code: refusal(code) for code in [*sorted(THROTTLING), "TransactionInProgressException"]},
    "InternalServerError": refusal("InternalServerError", status=b"500 Internal Server Error"),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_complete_response_is_accepted_and_later_calls_succeed(
    server: ScriptedServer, client: DynamoDBClient, name: str
) -> None:
    server.script[:] = [RESPONSES[name]]
    usage = start_metering()
    assert [count(client, limit) for limit in (1, 2, 3)] == [1, 2, 3]
    assert usage.requests == 3 or (usage.requests == 4 and name in BROKEN_CONNECTIONS)


@pytest.mark.parametrize("name", FAILURES)
def test_missing_response_is_retried_and_later_calls_succeed(
    server: ScriptedServer, client: DynamoDBClient, name: str
) -> None:
    usage = start_metering()
    for limit in (1, 4):
        server.script[:] = [FAILURES[name]]
        assert [count(client, number) for number in (limit, 2, 3)] == [limit, 2, 3]
    assert usage.requests == len(server.requests) == 8
    server.script[:] = [FAILURES[name]] * TRIES
    with time_limit(TRIES * (SECONDS + 0.1)), pytest.raises(NoResponse):
        count(client, 1)
    assert [count(client, limit) for limit in (2, 3)] == [2, 3]


@pytest.mark.parametrize("code", PASSING)
def test_passing_refusal_is_retried(server: ScriptedServer, client: DynamoDBClient, code: str) -> None:
    server.script[:] = [send(PASSING[code])] * (TRIES - 1)
    assert count(client, 5) == 5
    server.script[:] = [send(PASSING[code])] * TRIES
    with pytest.raises(ClientError) as caught:
        count(client, 5)
    assert (caught.value.response["Error"]["Code"], len(server.requests), server.connections) == (code, 2 * TRIES, 1)


def test_other_refusal_is_final_and_quotes_no_item(server: ScriptedServer, client: DynamoDBClient) -> None:
    server.script[:] = [send(refusal("ValidationException"))]
    with pytest.raises(RequestRejected) as caught:
        Table(client, "messages").ping()
    assert (caught.value.code, len(server.requests)) == ("ValidationException", 1)
    assert "secret-text" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_tries_of_a_transaction_share_their_token(
    server: ScriptedServer, client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (CONNECT_SECONDS, TRY_SECONDS, TRIES) == (0.5, 2.0, 3)  # as the documents promise
    pauses: list[tuple[float, float]] = []
    monkeypatch.setattr(random, "uniform", lambda low, high: pauses.append((low, high)) or 0)
    for _ in range(2):
        server.script[:] = [reset, send(PASSING["ThrottlingException"])]
        client.transact_write_items(TransactItems=[])
    tokens = [json.loads(body)["ClientRequestToken"] for _, body in server.requests]
    assert [tokens.count(token) for token in tokens] == [TRIES] * 6
    assert pauses == [(0, 0.01), (0, 0.02)] * 2
    client.transact_write_items(TransactItems=[], ClientRequestToken="own")
    assert json.loads(server.requests[-1][1])["ClientRequestToken"] == "own"


def test_usage_counts_tries_and_units(server: ScriptedServer, client: DynamoDBClient) -> None:
    usage = start_metering()
    server.script[:] = [reset, send(response(b'{"ConsumedCapacity": {"CapacityUnits": 1.5}}'))]
    client.get_item(Key={})
    server.script[:] = [send(response(b'{"ConsumedCapacity": [{"CapacityUnits": 4}, {"CapacityUnits": 2}]}'))]
    client.transact_write_items(TransactItems=[])
    assert (usage.requests, usage.read_units, usage.write_units) == (3, 1.5, 6)


def test_deadline_ends_tries(server: ScriptedServer, client: DynamoDBClient) -> None:
    server.script[:] = [hang] * TRIES
    start = time.monotonic()
    with time_limit(SECONDS * 2), deadline(SECONDS * 1.5), pytest.raises(NoResponse):
        count(client, 1)
    assert time.monotonic() - start > SECONDS
    requests = len(server.requests)
    with deadline(0), pytest.raises(NoResponse):
        count(client, 1)
    assert len(server.requests) == requests <= 2


@pytest.mark.parametrize(("left", "pauses"), [(0.26, 2), (0.25, 2), (0.24, 0)])
def test_call_ends_before_a_pause_that_would_outlast_the_deadline(
    server: ScriptedServer, client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch, left: float, pauses: int
) -> None:
    server.respond = lambda body: refusal("ThrottlingException")
    slept: list[float] = []
    monkeypatch.setattr("lib.aws.dynamodb_client.time", SimpleNamespace(sleep=slept.append))
    monkeypatch.setattr("lib.aws.dynamodb_client.random", SimpleNamespace(uniform=lambda low, high: 0.25))
    monkeypatch.setattr("lib.aws.dynamodb_client.seconds_left", lambda: left)
    with pytest.raises(ClientError):
        count(client, 1)
    assert (len(server.requests), slept) == (1 + pauses, [0.25] * pauses)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nowhere.invalid:8000", "https://[::1]:1"])
def test_unreachable_endpoint_is_unavailable(url: str) -> None:
    usage = start_metering()
    with pytest.raises(StoreUnavailable):
        Table(client_of(url), "messages").ping()
    assert usage.requests == TRIES


def test_attempt_to_connect_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        for connection in [stack.enter_context(socket.socket()) for _ in range(3)]:
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        with time_limit(TRIES * (SECONDS + 0.1) + 0.5), pytest.raises(NoResponse):
            count(client_of(f"http://127.0.0.1:{full.getsockname()[1]}"), 1)


def call_together(server: ScriptedServer, client: DynamoDBClient, calls: int) -> None:
    """Make calls whose responses all wait for the last request."""
    respond, arrived = server.respond, Barrier(calls, timeout=5)
    server.respond = lambda body: respond(body) if arrived.wait() >= 0 else b""
    with ThreadPoolExecutor(calls) as threads:
        assert list(threads.map(lambda limit: count(client, limit), range(calls))) == list(range(calls))
    server.respond = respond


def test_threads_share_connections_and_no_responses(server: ScriptedServer, client: DynamoDBClient) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda limit: count(client, limit), range(200))) == list(range(200))
    call_together(server, client, 4)
    connections_before = server.connections
    call_together(server, client, 4)
    assert server.connections == connections_before
    server.hang_up()
    time.sleep(0.05)
    usage = start_metering()
    assert (count(client, 1), usage.requests) == (1, 1)  # the client uses no connection that the server closed


def test_failure_closes_the_idle_connections(server: ScriptedServer, client: DynamoDBClient) -> None:
    """A cause that cut one connection off, such as a router or a new address, may have cut all of them off."""
    call_together(server, client, 4)
    server.script[:] = [reset]
    assert (count(client, 7), server.connections) == (7, 5)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_child_process_opens_its_own_connections(server: ScriptedServer, client: DynamoDBClient) -> None:
    count(client, 1)
    if not (child := os.fork()):
        with suppress(BaseException):
            os._exit([count(client, limit) for limit in (2, 3)] == [2, 3])
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert [count(client, limit) for limit in (4, 5)] == [4, 5]
    assert server.connections == 2


def certify(folder: Path, name: str) -> tuple[str, ssl.SSLContext]:
    """The path of a self-signed certificate for a host, and a server's context with it."""
    certificate, key = make_ssl_devcert(str(folder / "certificate"), cn=name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


@pytest.mark.parametrize("name", ["localhost", "elsewhere.example.com"])
def test_certificate_of_an_unknown_issuer_or_another_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    certificate, context = certify(tmp_path, name)
    if name != "localhost":
        monkeypatch.setenv("AWS_CA_BUNDLE", certificate)
    with ScriptedServer(context) as server, closing(client_of(f"https://localhost:{server.port}")) as client:
        with pytest.raises(NoResponse, match="SSLCertVerificationError"):
            count(client, 1)
        assert server.requests == []


def test_tls_connection_serves_many_calls_and_its_name_may_end_in_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = certify(tmp_path, "elsewhere.example.com")
    hosts, resolve = list[str](), socket.getaddrinfo
    monkeypatch.setenv("AWS_CA_BUNDLE", certificate)
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda host, *rest, **named: hosts.append(host) or resolve("127.0.0.1", *rest, **named)
    )
    padding = b"X-Padding: %s" % (b"-" * (8192 - len(response(BODY, b"X-Padding: "))))
    one_tls_record = response(BODY, padding) + response(b'{"Count": 666}')  # the client reads it in two parts
    with ScriptedServer(context) as server:
        server.respond = lambda body: GOOD
        with closing(client_of(f"https://elsewhere.example.com.:{server.port}")) as client:
            assert [count(client, 1) for _ in range(5)] == [1] * 5
            assert (server.connections, hosts) == (1, ["elsewhere.example.com."])  # the dot keeps search lists out
            server.script[:] = [send(one_tls_record)]
            assert [count(client, 1) for _ in range(3)] == [1, 1, 1]


def test_missing_ca_bundle_is_a_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/bundle.pem")
    with pytest.raises(SettingsError, match="/nowhere/bundle.pem"):
        client_of("https://127.0.0.1:1")


@contextmanager
def accepting(react: Callable[[socket.socket], object], *, count: int) -> Iterator[str]:
    """The `host:port` of a server that accepts `count` connections, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:

        def serve() -> None:
            for _ in range(count):
                connection, _ = listener.accept()
                connection.settimeout(3)
                with connection, suppress(OSError):
                    react(connection)

        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        served = threads.submit(serve)
        yield f"localhost:{listener.getsockname()[1]}"
        served.result(20)


@pytest.mark.parametrize("name", ["silence", "close", "not HTTP", "reset"])
def test_failed_handshake_is_retried_in_time(name: str) -> None:
    with (
        accepting(lambda connection: connection.recv(65_536) and FAILURES[name](connection), count=TRIES) as address,
        time_limit(TRIES * (SECONDS + 0.1) + 0.5),
        pytest.raises(NoResponse),
    ):
        count(client_of(f"https://{address}"), 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_call_to_a_slowly_reading_server_ends_in_time(tmp_path: Path, scheme: str) -> None:
    certificate, context = certify(tmp_path, "localhost")

    def read_slowly(accepted: socket.socket) -> None:
        wrapped = context.wrap_socket(accepted, server_side=True) if scheme == "https" else accepted
        with wrapped as connection:
            while connection.recv(65_536):
                time.sleep(0.02)

    with accepting(read_slowly, count=1) as address:
        pool = Connections(f"{scheme}://{address}", pool_size=1, ca_bundle=certificate)
        with time_limit(SECONDS + 0.2), pytest.raises(NoResponse):
            pool.post({}, bytes(32 << 20), seconds=SECONDS)


PRINT_CREDENTIALS = """
import json, pathlib, datetime
file = pathlib.Path(__file__).with_suffix(".count")
n = int(file.read_text()) + 1 if file.exists() else 1
file.write_text(str(n))
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5 if n < 3 else 60)
keys = {"Version": 1, "AccessKeyId": f"KEY{n}", "SecretAccessKey": "s", "Expiration": end.isoformat()}
print(json.dumps(keys | {"Token": f"TOKEN{n}", "SessionToken": f"TOKEN{n}"}))
"""
EXPIRED = {
    "Version": 1,
    "AccessKeyId": "K",
    "SecretAccessKey": "s",
    "SessionToken": "t",
    "Expiration": "2020-01-01T00Z",
}


Configure = Callable[..., None]


@pytest.fixture
def run_for_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """A function that lets botocore get credentials from a command. Before its call there are none."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    def configure(*command: str) -> None:
        (tmp_path / "config").write_text(f"[default]\ncredential_process = {shlex.join(command)}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    return configure


@pytest.mark.parametrize("source", ["process", "container"])
def test_expiring_credentials_are_renewed(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_for_credentials: Configure, source: str
) -> None:
    """botocore renews credentials 15 minutes before they expire: the first and the second, but not the third."""
    script = tmp_path / "print_credentials.py"
    script.write_text(PRINT_CREDENTIALS)
    command = [sys.executable, str(script)]
    with ScriptedServer() as container:
        container.respond = lambda body: response(subprocess.check_output(command))
        if source == "container":
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.url)
        else:
            run_for_credentials(*command)
        with closing(client_of(server.url)) as client:
            assert [count(client, 1) for _ in range(3)] == [1, 1, 1]
    for (head, _), number in zip(server.requests, (2, 3, 3), strict=True):
        assert f"Credential=KEY{number}/".encode() in head
        assert f"X-Amz-Security-Token: TOKEN{number}\r\n".encode() in head


@pytest.mark.parametrize("are_expired", [True, False])
def test_store_is_unavailable_without_valid_credentials(
    server: ScriptedServer, run_for_credentials: Configure, are_expired: bool
) -> None:
    if are_expired:
        keys = {"Version": 1, "AccessKeyId": "K", "SecretAccessKey": "s", "SessionToken": "t"}
        run_for_credentials("echo", json.dumps(keys | {"Expiration": "2020-01-01T00:00:00Z"}))
    with closing(client_of(server.url)) as client, pytest.raises(StoreUnavailable, match="Credential"):
        Table(client, "messages").ping()
    assert server.requests == []
