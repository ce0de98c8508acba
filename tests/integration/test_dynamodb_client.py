"""The DynamoDB client on the wire: answers and failures, tries and their time, connections, TLS, credentials."""

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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lib.aws import connections, dynamodb_client
from lib.aws.connections import CONNECT_SECONDS, Connections, NoResponse
from lib.aws.dynamodb_client import TRIES, TRY_SECONDS, DynamoDBClient
from lib.aws.metering import start_metering
from lib.config import DynamoDBSettings, SettingsError
from lib.ddb.errors import RequestRejected, StoreUnavailable
from lib.ddb.table import Table
from lib.deadline import deadline
from tests.support.scripted_server import BODY, GOOD, HEADERS, Play, ScriptedServer, end, reset, say, wait

SECONDS = 0.3  # a try's


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb_client, "TRY_SECONDS", SECONDS)
    monkeypatch.setattr(dynamodb_client, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(connections, "CONNECT_SECONDS", SECONDS / 2)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """It counts as far as the request's Limit."""
    with ScriptedServer() as server:
        server.answer = lambda body: sized(b'{"Count": %d}' % json.loads(body).get("Limit", 0))
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[DynamoDBClient]:
    with closing(client_of(server.url)) as client:
        yield client


def client_of(url: str) -> DynamoDBClient:
    return DynamoDBClient(DynamoDBSettings(aws_default_region="us-east-1", aws_endpoint_url_dynamodb=url), pool_size=4)


def count(client: DynamoDBClient, limit: int) -> int:
    return int(client.query(TableName="messages", Limit=limit)["Count"])


def sized(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, *headers, HEADERS + b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def fault(code: str, status: bytes = b"400 Bad Request") -> bytes:
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "hush"}
    return sized(json.dumps(body).encode(), status=status)


NO_REFUSALS = (b"1", b'{"message": "no"}', b'{"__type": null}')
HTML = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: 11\r\n\r\n<html>no</a"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\n" + HEADERS + b"Transfer-Encoding: chunked\r\n\r\n"
    b"5\r\n" + BODY[:5] + b"\r\n%x;extension=1\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n0\r\n\r\n"
)

ANSWERS: dict[str, Play] = {  # all count to 1
    "in small parts": say(*(GOOD[start : start + 30] for start in range(0, len(GOOD), 30)), pause=0.002),
    "in chunks": say(CHUNKED),
    "in chunks, with a length": say(CHUNKED.replace(b"Transfer-", b"Content-Length: 3\r\nTransfer-")),
    "in chunks, in parts": say(CHUNKED[:70], CHUNKED[70:150], CHUNKED[150:], pause=0.02),
    "without a length": end(b"HTTP/1.1 200 OK\r\n" + HEADERS + b"\r\n" + BODY),
    "of HTTP/1.0": end(GOOD.replace(b"HTTP/1.1", b"HTTP/1.0")),
    "after a 100": say(b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD),
    "closing": end(GOOD.replace(b"\r\n", b"\r\nConnection: keep-alive, Close\r\n", 1)),
    "closing without a word": end(GOOD),
    "a header in two lines": say(sized(BODY, b"X-Long: a,\r\n b", b"X-Empty:")),
    "large": say(sized(json.dumps({"Count": 1, "Items": ["ä" * 999] * 300}).encode())),
    "with junk after it": say(GOOD + b"junk"),
    "with more junk after it than is read at once": say(GOOD + sized(b'{"Count": 666}') * 999),
}
SUDDEN = {"closing without a word", "with junk after it", "with more junk after it than is read at once"}
FAILURES: dict[str, Play] = {
    "two lengths": say(sized(BODY, b"Content-Length: 2")),
    "wrong checksum": say(sized(BODY, b"x-amz-crc32: 1")),
    "wrong checksum of a refusal": say(fault("X").replace(b"x-amzn", b"x-amz-crc32: 1\r\nx-amzn")),
    **{f"HTML as {status}": say(HTML % str(status).encode()) for status in (200, 301, 400, 403, 429, 503)},
    **{f"{body!r} of a refusal": say(sized(body, status=b"400 Bad Request")) for body in NO_REFUSALS},
    "a 103, the answer later": say(b"HTTP/1.1 103 Early Hints\r\n\r\n", GOOD, pause=0.02),
    "JSON of somebody else": say(GOOD.replace(b"x-amz-json-1.0", b"json")),
    "JSON that is no object": say(sized(b"[]")),
    "an empty 200": say(sized(b"")),
    "failing without a word": say(sized(b"", status=b"500 Internal Server Error")),
    "no answer at all": end(),
    "reset": reset,
    "broken off within the headers": end(GOOD[:60]),
    "broken off within the body": end(GOOD[:-3]),
    "broken off within the chunks": end(CHUNKED[:-12]),
    "broken off, of no length": end(b"HTTP/1.1 200 OK\r\n" + HEADERS + b"\r\n" + BODY[:-3]),
    "not HTTP": end(b"nonsense\r\n\r\n"),
    "a status that is none": end(b"HTTP/1.1 ok\r\n\r\n"),
    "silence": wait,
    "silence within the body": lambda connection: say(GOOD[:-3])(connection) or wait(connection),
    "byte by byte": say(*(bytes([each]) for each in GOOD), pause=SECONDS / 20),
}
PASSING = {
    **{code: fault(code) for code in [*sorted(dynamodb_client.THROTTLING), "TransactionInProgressException"]},
    "InternalServerError": fault("InternalServerError", b"500 Internal Server Error"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_whole_answers_are_taken_and_leave_nothing_behind(
    server: ScriptedServer, client: DynamoDBClient, name: str
) -> None:
    server.plays[:] = [ANSWERS[name]]
    usage = start_metering()
    assert [count(client, limit) for limit in (1, 2, 3)] == [1, 2, 3]
    assert usage.requests == 3 or (usage.requests == 4 and name in SUDDEN)


@pytest.mark.parametrize("name", FAILURES)
def test_what_is_no_whole_answer_is_tried_again_and_leaves_nothing_behind(
    server: ScriptedServer, client: DynamoDBClient, name: str
) -> None:
    usage = start_metering()
    for limit in (1, 4):
        server.plays[:] = [FAILURES[name]]
        assert [count(client, each) for each in (limit, 2, 3)] == [limit, 2, 3]
    assert usage.requests == len(server.requests) == 8
    server.plays[:] = [FAILURES[name]] * TRIES
    began = time.monotonic()
    with pytest.raises(NoResponse):
        count(client, 1)
    assert time.monotonic() - began < TRIES * (SECONDS + 0.1)
    assert [count(client, limit) for limit in (2, 3)] == [2, 3]


@pytest.mark.parametrize("code", PASSING)
def test_a_refusal_that_passes_is_tried_again(server: ScriptedServer, client: DynamoDBClient, code: str) -> None:
    server.plays[:] = [say(PASSING[code])] * (TRIES - 1)
    assert count(client, 5) == 5
    server.plays[:] = [say(PASSING[code])] * TRIES
    with pytest.raises(ClientError) as caught:
        count(client, 5)
    assert (caught.value.response["Error"]["Code"], len(server.requests), server.connections) == (code, 2 * TRIES, 1)


def test_another_refusal_is_final_and_quotes_nobody(server: ScriptedServer, client: DynamoDBClient) -> None:
    server.plays[:] = [say(fault("ValidationException"))]
    with pytest.raises(RequestRejected) as caught:
        Table(client, "messages").ping()
    assert (caught.value.code, len(server.requests)) == ("ValidationException", 1)
    assert "hush" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_every_try_of_a_transaction_is_the_same(
    server: ScriptedServer, client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (CONNECT_SECONDS, TRY_SECONDS, TRIES) == (0.5, 2.0, 3)  # as the documents promise
    pauses: list[tuple[float, float]] = []
    monkeypatch.setattr(random, "uniform", lambda low, high: pauses.append((low, high)) or 0)
    for _ in range(2):
        server.plays[:] = [reset, say(PASSING["ThrottlingException"])]
        client.transact_write_items(TransactItems=[])
    tokens = [json.loads(body)["ClientRequestToken"] for _, body in server.requests]
    assert [tokens.count(token) for token in tokens] == [TRIES] * 6
    assert pauses == [(0, 0.01), (0, 0.02)] * 2
    client.transact_write_items(TransactItems=[], ClientRequestToken="own")
    assert json.loads(server.requests[-1][1])["ClientRequestToken"] == "own"


def test_tries_and_units_are_counted(server: ScriptedServer, client: DynamoDBClient) -> None:
    usage = start_metering()
    server.plays[:] = [reset, say(sized(b'{"ConsumedCapacity": {"CapacityUnits": 1.5}}'))]
    client.get_item(Key={})
    server.plays[:] = [say(sized(b'{"ConsumedCapacity": [{"CapacityUnits": 4}, {"CapacityUnits": 2}]}'))]
    client.transact_write_items(TransactItems=[])
    assert (usage.requests, usage.read_units, usage.write_units) == (3, 1.5, 6)


def test_a_deadline_ends_tries(server: ScriptedServer, client: DynamoDBClient) -> None:
    server.plays[:] = [wait] * TRIES
    began = time.monotonic()
    with deadline(SECONDS * 1.5), pytest.raises(NoResponse):
        count(client, 1)
    assert SECONDS < time.monotonic() - began < SECONDS * 2
    asked = len(server.requests)
    with deadline(0), pytest.raises(NoResponse):
        count(client, 1)
    assert len(server.requests) == asked <= 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nowhere.invalid:8000", "https://[::1]:1"])
def test_who_cannot_be_reached_is_unavailable(url: str) -> None:
    usage = start_metering()
    with pytest.raises(StoreUnavailable):
        Table(client_of(url), "messages").ping()
    assert usage.requests == TRIES


def test_who_does_not_accept_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        queued = [socket.socket() for _ in range(3)]
        for each in queued:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        began = time.monotonic()
        with pytest.raises(NoResponse):
            count(client_of(f"http://127.0.0.1:{full.getsockname()[1]}"), 1)
        assert time.monotonic() - began < TRIES * (SECONDS + 0.1) + 0.5
        for each in queued:
            each.close()


def call_at_once(server: ScriptedServer, client: DynamoDBClient, calls: int) -> None:
    """Nobody is answered until all have asked."""
    answer, met = server.answer, Barrier(calls, timeout=5)
    server.answer = lambda body: answer(body) if met.wait() >= 0 else b""
    with ThreadPoolExecutor(calls) as threads:
        list(threads.map(lambda limit: count(client, limit), range(calls)))
    server.answer = answer


def test_threads_share_connections_and_never_answers(server: ScriptedServer, client: DynamoDBClient) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda limit: count(client, limit), range(200))) == list(range(200))
    call_at_once(server, client, 8)
    before = server.connections
    call_at_once(server, client, 8)
    assert server.connections == before + 4  # so many are kept, of eight
    server.hang_up()
    time.sleep(0.05)
    usage = start_metering()
    assert (count(client, 1), usage.requests) == (1, 1)  # what was closed while idle is not used


def test_a_failure_ends_the_idle_connections_too(server: ScriptedServer, client: DynamoDBClient) -> None:
    """Whatever cut off one of them, a router or a new address, may have cut off all."""
    call_at_once(server, client, 4)
    server.plays[:] = [reset]
    assert (count(client, 7), server.connections) == (7, 5)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_does_not_use_its_parents_connections(server: ScriptedServer, client: DynamoDBClient) -> None:
    count(client, 1)
    if not (child := os.fork()):
        with suppress(BaseException):
            os._exit([count(client, limit) for limit in (2, 3)] == [2, 3])
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert [count(client, limit) for limit in (4, 5)] == [4, 5]
    assert server.connections == 2


class Certificate:
    """A certificate that signs itself, for a name or an address, in files."""

    def __init__(self, folder: Path, name: x509.GeneralName) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        made = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
            .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, SHA256())
        )
        self.path, private = folder / "certificate.pem", folder / "key.pem"
        self.path.write_bytes(made.public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.path, private)


HERE, ELSEWHERE = x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("elsewhere.example.com")


@pytest.mark.parametrize("bundle", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", None])
@pytest.mark.parametrize("name", [HERE, ELSEWHERE])
def test_certificates_and_their_names_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: x509.GeneralName, bundle: str | None
) -> None:
    certificate = Certificate(tmp_path, name)
    if bundle:
        monkeypatch.setenv(bundle, str(certificate.path))
    with ScriptedServer(certificate.context) as server, closing(client_of(server.url)) as client:
        padding = b"X-Padding: %s" % (b"-" * (8192 - len(sized(BODY, b"X-Padding: "))))
        server.plays[:] = [say(sized(BODY, padding) + sized(b'{"Count": 666}'))]  # in one record, read in two parts
        if bundle and name is HERE:
            assert [count(client, 1) for _ in range(3)] == [1, 1, 1]
            assert server.connections <= 3
        else:
            with pytest.raises(NoResponse, match="SSLCertVerificationError"):
                count(client, 1)
            assert server.requests == []


def test_one_connection_over_tls_serves_many_calls_and_its_name_may_end_in_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, resolve, asked = Certificate(tmp_path, ELSEWHERE), socket.getaddrinfo, []
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.path))
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda host, *rest, **named: asked.append(host) or resolve("127.0.0.1", *rest, **named)
    )
    with ScriptedServer(certificate.context) as server:
        with closing(client_of(f"https://{ELSEWHERE.value}.:{server.port}")) as client:
            assert [count(client, 1) for _ in range(5)] == [1] * 5
        assert (server.connections, asked) == (1, [f"{ELSEWHERE.value}."])  # which no search list changes


def test_a_bundle_that_is_not_there_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/bundle.pem")
    with pytest.raises(SettingsError, match="/nowhere/bundle.pem"):
        client_of("https://127.0.0.1:1")


@pytest.mark.parametrize("play", ["silence", "no answer at all", "not HTTP", "reset"])
def test_a_handshake_that_fails_is_tried_again_in_time(play: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain, ThreadPoolExecutor(1) as threads:

        def serve() -> None:
            for _ in range(TRIES):
                connection, _ = plain.accept()
                with connection, suppress(OSError):
                    connection.recv(65_536)
                    connection.settimeout(3)
                    FAILURES[play](connection)

        served, began = threads.submit(serve), time.monotonic()
        with pytest.raises(NoResponse):
            count(client_of(f"https://127.0.0.1:{plain.getsockname()[1]}"), 1)
        assert time.monotonic() - began < TRIES * (SECONDS + 0.1) + 0.5
        served.result(10)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_that_is_taken_slowly_ends_in_time(tmp_path: Path, scheme: str) -> None:
    certificate = Certificate(tmp_path, HERE)
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as threads:

        def serve() -> None:
            connection, _ = listening.accept()
            with suppress(OSError):
                if scheme == "https":
                    connection = certificate.context.wrap_socket(connection, server_side=True)
                while connection.recv(65_536):
                    time.sleep(0.02)
            connection.close()

        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # it takes a little again and again
        served, began = threads.submit(serve), time.monotonic()
        url = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(NoResponse):
            Connections(url, pool_size=1, ca_bundle=str(certificate.path)).post({}, bytes(32 << 20), seconds=SECONDS)
        assert time.monotonic() - began < SECONDS + 0.2
        served.result(20)


GIVE = """
import json, pathlib, datetime
file = pathlib.Path(__file__).with_suffix(".count")
n = int(file.read_text()) + 1 if file.exists() else 1
file.write_text(str(n))
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5 if n < 3 else 60)
keys = {"Version": 1, "AccessKeyId": f"KEY{n}", "SecretAccessKey": "s", "Expiration": end.isoformat()}
print(json.dumps(keys | {"Token": f"TOKEN{n}", "SessionToken": f"TOKEN{n}"}))
"""


@pytest.fixture
def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("without_keys")
@pytest.mark.parametrize("source", ["process", "container"])
def test_credentials_that_end_are_renewed(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """The first are renewed before they are used (botocore asks for 15 minutes), then those, and the third last."""
    command = [sys.executable, str(tmp_path / "give.py")]
    Path(command[1]).write_text(GIVE)

    class Container(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(subprocess.check_output(command))

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Container) as container, ThreadPoolExecutor(1) as threads:
        threads.submit(container.serve_forever, 0.05)
        if source == "container":
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{container.server_port}/")
        else:
            (tmp_path / "config").write_text(f"[default]\ncredential_process = {shlex.join(command)}\n")
            monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        with closing(client_of(server.url)) as client:
            for _ in range(3):
                count(client, 1)
        container.shutdown()
    heads = [head.decode() for head, _ in server.requests]
    for head, turn in zip(heads, (2, 3, 3), strict=True):
        assert f"Credential=KEY{turn}/" in head
        assert f"X-Amz-Security-Token: TOKEN{turn}\r\n" in head


@pytest.mark.usefixtures("without_keys")
@pytest.mark.parametrize("given", [None, '{"Version": 1, "AccessKeyId": "K", "SecretAccessKey": "s", "Expiration": 0}'])
def test_without_credentials_the_store_is_unavailable(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """None at all, and none but those that have ended."""
    if given:
        (tmp_path / "given").write_text(given.replace(": 0", ': "2020-01-01T00:00:00Z", "SessionToken": "t"'))
        (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path}/given\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with closing(client_of(server.url)) as client, pytest.raises(StoreUnavailable, match="Credential"):
        Table(client, "messages").ping()
    assert server.requests == []
