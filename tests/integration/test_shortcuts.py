"""On the wire, the client with shortcuts does what botocore's does: answers, failures, retries, connections, TLS."""

from __future__ import annotations

import gc
import json
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ReadTimeoutError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lib.config import DynamoDBSettings
from lib.ddb import table
from lib.ddb.table import TRIES, connect
from lib.ddb.transport import Transport
from tests.both_clients import QUERY, TRANSACTION, both_clients, outcome
from tests.scripted_server import BODY, GOOD, HEADERS, Play, ScriptedServer, end, reset, say, wait

READ_SECONDS = 0.4


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "READ_TIMEOUT_SECONDS", READ_SECONDS)
    monkeypatch.setattr(table, "CONNECT_TIMEOUT_SECONDS", 0.3)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def quick(server: ScriptedServer) -> Iterator[Any]:
    """The client with shortcuts."""
    with closing(connect(settings_for(server.url), pool_size=4)) as client:
        yield client


def settings_for(url: str) -> DynamoDBSettings:
    return DynamoDBSettings(aws_default_region="us-east-1", aws_endpoint_url_dynamodb=url)


def sized(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CHUNKED = (
    b"HTTP/1.1 200 OK\r\n" + HEADERS + b"Transfer-Encoding: chunked\r\n\r\n"
    b"5\r\n" + BODY[:5] + b"\r\n%x;extension=1\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n0\r\n\r\n"
)
FAULT = sized(b'{"__type": "ThrottlingException", "message": "slower"}', status=b"400 Bad Request")

PLAYS: dict[str, Play] = {
    "as usual": say(GOOD),
    "in small parts": say(*(GOOD[start : start + 30] for start in range(0, len(GOOD), 30)), pause=0.002),
    "headers and body apart": say(GOOD[: -len(BODY)], BODY, pause=0.02),
    "in chunks": say(CHUNKED),
    "in chunks, with a length": say(CHUNKED.replace(b"Transfer-", b"Content-Length: 3\r\nTransfer-")),
    "in chunks, in parts": say(CHUNKED[:70], CHUNKED[70:150], CHUNKED[150:], pause=0.02),
    "without a length": end(b"HTTP/1.1 200 OK\r\n" + HEADERS + b"\r\n" + BODY),
    "of HTTP/1.0": end(GOOD.replace(b"HTTP/1.1", b"HTTP/1.0")),
    "after a 100": say(b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD),
    "closing": end(GOOD.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)),
    "closing, said among others": end(GOOD.replace(b"\r\n", b"\r\nConnection: keep-alive, Close\r\n", 1)),
    "closing without a word": end(GOOD),
    "two lengths": say(sized(BODY, b"Content-Length: 2")),
    "the same length twice": say(sized(BODY, b"Content-Length: %d" % len(BODY))),
    "a header twice": say(sized(BODY, b"X-Two: a", b"X-Two: b")),
    "a header in two lines": say(sized(BODY, b"X-Long: a,\r\n b")),
    "a header without a value": say(sized(BODY, b"X-Empty:")),
    "large": say(sized(json.dumps({"Items": [{"a": {"S": "ä" * 999}}] * 300}).encode())),
    "wrong checksum": say(sized(BODY, b"x-amz-crc32: 1")),
    "throttled": say(FAULT),
    "failing": say(sized(b"<html>no</html>", status=b"503 Service Unavailable")),
    "failing, as if there were no reason": say(sized(b" ", status=b"500 ")),
    "failing without a word": say(sized(b"", status=b"500 Internal Server Error")),
    "no answer at all": end(),
    "reset": reset,
    "broken off within the body": end(GOOD[:-3]),
    "broken off within the chunks": end(CHUNKED[:-12]),
    "not HTTP": end(b"nonsense\r\n\r\n"),
    "a status that is none": end(b"HTTP/1.1 ok\r\n\r\n"),
    "silence": wait,
    "silence within the body": lambda connection: say(GOOD[:-3])(connection) or wait(connection),
}


@pytest.mark.parametrize("name", PLAYS)
def test_answers_and_failures_are_those_of_botocore(server: ScriptedServer, name: str) -> None:
    """Once and in all tries; the calls after the first find out what it left behind on the connection."""
    outcomes = []
    with both_clients(aws_endpoint_url_dynamodb=server.url) as clients:
        for client in clients:
            called: list[object] = []
            for times in (1, TRIES):
                server.plays[:] = [PLAYS[name]] * times
                server.requests.clear()
                for operation, arguments in (("transact_write_items", TRANSACTION), *[("query", QUERY)] * 2):
                    called.append(outcome(client, operation, arguments))
                    time.sleep(0.02)  # a server that hangs up has done so
                called.append([json.loads(body).get("ClientRequestToken") for _, body in server.requests])
            outcomes.append(called)
    assert outcomes[0] == outcomes[1]
    assert len(set(outcomes[0][-1])) == 2  # the transaction's, and none


def test_an_answer_that_broke_off_within_its_headers_is_tried_again(server: ScriptedServer, quick: Any) -> None:
    """botocore takes it for a whole one, and gives up when that has no body."""
    server.plays[:] = [end(GOOD[:60])]
    assert outcome(quick, "query", QUERY).tries == 2


def test_a_whole_answer_is_waited_for_no_longer_than_for_its_first_byte(server: ScriptedServer, quick: Any) -> None:
    server.plays[:] = [say(*(bytes([each]) for each in GOOD), pause=READ_SECONDS / 4)] * TRIES
    began = time.monotonic()
    assert outcome(quick, "query", QUERY).error == "ReadTimeoutError"
    assert time.monotonic() - began < TRIES * (READ_SECONDS + 0.3)


def test_sending_takes_of_the_time_for_the_answer() -> None:
    """The server takes the request late, and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                time.sleep(0.75 * READ_SECONDS)
                while connection.recv(1 << 20):
                    pass

        served = threads.submit(serve)
        transport = Transport(connect_timeout=1, read_timeout=READ_SECONDS, pool_size=1, verify=True)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        began = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            transport.send(AWSPreparedRequest("POST", url, {}, bytes(16 << 20), False))
        assert time.monotonic() - began < 1.5 * READ_SECONDS
        served.result(10)


def test_a_connection_that_was_closed_while_idle_is_not_noticed(server: ScriptedServer) -> None:
    with both_clients(aws_endpoint_url_dynamodb=server.url) as clients:
        for client in clients:
            client.query(**QUERY)
            server.hang_up()
            time.sleep(0.05)
            assert outcome(client, "query", QUERY).tries == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nowhere.invalid:8000", "https://127.0.0.1:1"])
def test_who_cannot_be_reached_is_called_so(url: str) -> None:
    with both_clients(aws_endpoint_url_dynamodb=url) as clients:
        outcomes = [outcome(client, "query", QUERY) for client in clients]
    assert outcomes[0] == outcomes[1]
    assert (outcomes[0].error, outcomes[0].tries) == ("EndpointConnectionError", TRIES)


def test_who_does_not_accept_is_waited_for_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        queued = [socket.socket() for _ in range(3)]
        for each in queued:
            each.setblocking(False)
            each.connect_ex(address)
        with both_clients(aws_endpoint_url_dynamodb=f"http://127.0.0.1:{address[1]}") as clients:
            outcomes = [outcome(client, "query", QUERY) for client in clients]
        for each in queued:
            each.close()
    assert outcomes[0] == outcomes[1]
    assert (outcomes[0].error, outcomes[0].tries) == ("ConnectTimeoutError", TRIES)


def test_one_connection_serves_call_after_call(server: ScriptedServer, quick: Any) -> None:
    server.plays[:] = [say(GOOD), say(FAULT), say(GOOD)]
    for _ in range(4):
        assert outcome(quick, "query", QUERY).error is None
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        GOOD + b"junk",
        CHUNKED + b"junk",
        b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD + b"junk",
        GOOD.replace(b"\r\n", b"\r\nConnection: keep-alive, Close\r\n", 1),
    ],
)
def test_what_may_follow_on_a_connection_that_is_in_doubt_is_nobodys_answer(
    server: ScriptedServer, quick: Any, answer: bytes
) -> None:
    def play(connection: socket.socket) -> bool:
        connection.sendall(answer)
        if connection.recv(65_536):
            connection.sendall(sized(b'{"Count": 666}'))
        return False

    server.plays[:] = [play]
    assert [quick.query(**QUERY)["Count"] for _ in range(2)] == [1, 1]


def test_a_failure_without_a_word_is_tried_again(server: ScriptedServer) -> None:
    with both_clients(aws_endpoint_url_dynamodb=server.url) as clients:
        for client in clients:
            server.plays[:] = [PLAYS["failing without a word"]] * (TRIES - 1)
            assert outcome(client, "transact_write_items", TRANSACTION).tries == TRIES


def test_threads_share_connections_and_never_answers(server: ScriptedServer, quick: Any) -> None:
    server.answer = lambda body: sized(json.dumps({"Count": json.loads(body)["Limit"]}).encode())

    with ThreadPoolExecutor(8) as threads:
        counts = threads.map(lambda limit: quick.query(**QUERY | {"Limit": limit})["Count"], range(1, 201))
        assert list(counts) == list(range(1, 201))
    assert server.connections <= 200
    assert sum(map(len, quick._endpoint.http_session._idle.values())) <= 4


@pytest.mark.parametrize("given_up", [False, True])
def test_idle_connections_end_with_their_client(server: ScriptedServer, given_up: bool) -> None:
    client = connect(settings_for(server.url))
    client.query(**QUERY)
    [[idle]] = client._endpoint.http_session._idle.values()
    if not given_up:
        client.close()
    else:
        del client
        gc.collect()
    assert idle.fileno() == -1


def test_another_process_does_not_use_its_parents_connections(
    server: ScriptedServer, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick.query(**QUERY)
    monkeypatch.setattr("lib.ddb.transport.os.getpid", lambda: 0)
    quick.query(**QUERY)
    quick.query(**QUERY)
    assert server.connections == 2


@pytest.mark.parametrize("direct", [False, True])
def test_a_proxy_is_used_as_by_botocore(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, direct: bool) -> None:
    with ScriptedServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1" if direct else "elsewhere")
        with both_clients(aws_endpoint_url_dynamodb=server.url) as clients:
            for client in clients:
                client.query(**QUERY)
            assert isinstance(clients[0]._endpoint.http_session, Transport) == direct
    assert (len(server.requests), len(proxy.requests)) == ((2, 0) if direct else (0, 2))


class Certificate:
    """A certificate that signs itself, for a name or an address, in files."""

    def __init__(self, folder: Path, name: x509.GeneralName) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.path = folder / "certificate.pem"
        self.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private = folder / "key.pem"
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.path, private)


HERE, ELSEWHERE = x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("elsewhere.example.com")
BUNDLES = ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"]


@pytest.mark.parametrize(
    ("name", "bundle", "error"),
    [
        *((HERE, bundle, None) for bundle in BUNDLES),
        *((ELSEWHERE, bundle, "SSLError") for bundle in BUNDLES),
        (HERE, None, "SSLError"),
    ],
)
def test_certificates_are_checked_as_by_botocore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: x509.GeneralName, bundle: str | None, error: str | None
) -> None:
    certificate = Certificate(tmp_path, name)
    if bundle:
        monkeypatch.setenv(bundle, str(certificate.path))
    with ScriptedServer(certificate.context) as server, both_clients(aws_endpoint_url_dynamodb=server.url) as clients:
        outcomes = [outcome(client, "query", QUERY) for client in clients for _ in range(2)]
        used = server.connections
    assert outcomes[0] == outcomes[1] == outcomes[2] == outcomes[3]
    assert outcomes[0].error == error
    assert used == (4 * TRIES if error else 2)


def test_a_name_that_ends_in_a_dot_is_in_the_certificate_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate(tmp_path, ELSEWHERE)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.path))
    resolve = socket.getaddrinfo
    monkeypatch.setattr("socket.getaddrinfo", lambda host, *rest, **named: resolve("127.0.0.1", *rest, **named))
    with ScriptedServer(certificate.context) as server:
        url = f"https://{ELSEWHERE.value}.:{server.port}"
        with both_clients(aws_endpoint_url_dynamodb=url) as clients:
            outcomes = [outcome(client, "query", QUERY) for client in clients]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].error is None


def test_certificates_that_are_not_there_are_called_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, HERE)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with ScriptedServer(certificate.context) as server, both_clients(aws_endpoint_url_dynamodb=server.url) as clients:
        outcomes = [outcome(client, "query", QUERY) for client in clients]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].error == "SSLError"


@pytest.mark.parametrize("play", ["silence", "no answer at all", "not HTTP", "reset"])
def test_a_handshake_that_fails_is_tried_again_as_by_botocore(play: str) -> None:
    """A server without TLS, which gets the first bytes of it."""
    with socket.create_server(("127.0.0.1", 0)) as plain, ThreadPoolExecutor(1) as threads:

        def serve() -> None:
            for _ in range(2 * TRIES):
                connection, _ = plain.accept()
                with connection:
                    connection.recv(65_536)
                    PLAYS[play](connection)

        served = threads.submit(serve)
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        with both_clients(aws_endpoint_url_dynamodb=url) as clients:
            outcomes = [outcome(client, "query", QUERY) for client in clients]
        served.result(10)
    assert outcomes[0] == outcomes[1]
    assert (outcomes[0].answer, outcomes[0].tries) == (None, TRIES)
