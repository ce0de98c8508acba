"""The server on a socket: requests, connections, workers, start and stop."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from lib.config import ROOT
from lib.version import VERSION
from tests.support.api_server import SETTINGS, ApiServer
from tests.support.clocks import eventually, time_limit
from tools.local_stack.processes import LOOPBACK, EngineError, responds

SECRET = "a-secret-of-somebody@example.com"
GET = b"GET /api/health-check HTTP/1.1\r\nHost: x\r\n"
GET_OTHER, GET_SLOW = (GET.replace(b"/api/health-check", path) for path in (b"/other", b"/slow"))


class Server(ApiServer):
    """A server with one worker, which has one thread unless `options` say otherwise."""

    def __init__(self, log: Path, **options: Any) -> None:
        super().__init__(log, **{"WEB_CONCURRENCY": "1", "WEB_THREADS": "1"} | options)

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.port), timeout=20)

    def exchange(self, request: bytes) -> bytes:
        """Send this on a new connection; return all that the server sends."""
        with self.connect() as connection, connection.makefile("rb") as received:
            connection.sendall(request)
            return received.read()

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(self.pid)

    def workers(self) -> list[psutil.Process]:
        return self.supervisor.children()

    def worker(self) -> psutil.Process:
        [worker] = self.workers()
        return worker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "log") as server:
        yield server


def server_of(folder: Path, statement: str = "pass", **options: Any) -> Server:
    """A server with an application that runs the statement and then responds with `done`."""
    (folder / "application.py").write_text(
        "import time\n"
        "def make():\n"
        "    def application(environ, start_response):\n"
        "        start_response('200 OK', [])\n"
        f"        {statement}\n"
        "        return [b'done']\n"
        "    return application\n"
    )
    return Server(folder / "log", application="application:make", PYTHONPATH=str(folder), **options)


def receive(connection: socket.socket) -> bytes:
    """One response, whose head and body may arrive apart."""
    response = connection.recv(4096)
    return response + connection.recv(4096) if response.endswith(b"\r\n\r\n") else response


def lines(server: Server) -> list[dict[str, Any]]:
    """The log."""
    assert server.log is not None
    return [json.loads(line) for line in server.log.read_text().splitlines()]


def starting_server(folder: Path) -> Server:
    """A server whose worker has begun to import an application and never ends it."""
    begun = folder / "begun"
    (folder / "slow.py").write_text(f"import pathlib, time\npathlib.Path('{begun}').touch()\ntime.sleep(60)\n")
    server = Server(folder / "log", application="slow:create_app", PYTHONPATH=str(folder))
    server.ready = begun.exists
    return server


def test_stop_does_not_wait_for_a_starting_worker(tmp_path: Path) -> None:
    with starting_server(tmp_path) as server, time_limit(5):
        server.stop()


def test_log_begins_with_the_server_and_ends_with_it(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", HOST="::1", WEB_CONCURRENCY="2", GROUP_UPDATES="stream")
    address = f"http://[::1]:{server.port}"
    server.ready = responds(f"{address}/api/health-check")
    with server, socket.create_connection(("::1", server.port)) as connection:
        assert connection.getpeername()[0] == "::1"
    started, stopping, stopped = (line for line in lines(server) if line["event"] != "request")
    facts = {"version": VERSION, "address": address, "workers": 2, "mode": "stream"}
    assert started | facts | {"event": "started", "level": "info"} == started
    assert (stopping["event"], stopping["workers"]) == ("stopping", 2)
    assert (stopped["event"], stopped["killed_workers"], stopped["status"]) == ("stopped", 0, 0)


def test_request_logs_one_line_with_the_time_of_its_body(server: Server) -> None:
    before = len(lines(server))
    with server.connect() as connection:
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
        parent = f"traceparent: 00-{trace_id}-00f067aa0ba902b7-01\r\n"
        connection.sendall(POST + SIZED + parent.encode() + b"\r\n")
        time.sleep(0.3)
        connection.sendall(b"hello")
        assert receive(connection).startswith(b"HTTP/1.1 401")
    [line] = lines(server)[before:]
    assert (line["event"], line["codes"], line["trace_id"]) == ("request", ["token_missing"], trace_id)
    assert 200 <= line["ms"] < 5000


def test_malformed_request_is_refused_and_its_content_is_not_logged(server: Server) -> None:
    body = '{"message": "' + "é" * 60 + SECRET + '"}'
    counted_in_characters = f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    server.exchange(b"POST /api/messages HTTP/1.1\r\nHost: x\r\n" + counted_in_characters + GET + b"\r\n")
    assert server.exchange(GET + f"Authorization Bearer {SECRET}\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")
    assert SECRET not in str(lines(server))


@pytest.mark.parametrize(
    "head",
    [GET + b"X: x\r\n" * 200, GET + b"X: " + b"x" * 40_000, b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n"],
)
@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_oversized_head_is_refused(server: Server, head: bytes, end: bytes) -> None:
    response = server.exchange(head + end)
    assert response.startswith(b"HTTP/1.1 431")
    assert response.endswith(b'["headers_too_large"]\n')


def test_server_refuses_as_the_application_does(server: Server) -> None:
    before = len(lines(server))
    origin = b"Origin: http://localhost:3000\r\nX-Request-Id: mine\r\n"
    chunk = GET.replace(b"GET", b"POST") + origin + CHUNKED + b"\r\n-5\r\n"
    refused = [(b"\x16\x03\x01", 400), (GET + origin + b"X Y: z\r\n\r\n", 400), (chunk, 400)]
    refused.append((GET + origin + b"X: x\r\n" * 200, 431))
    for request_, status in refused:
        head, _, body = server.exchange(request_).lower().partition(b"\r\n\r\n")
        assert head.startswith(b"http/1.1 %d" % status)
        assert json.loads(body) == ["bad_request" if status == 400 else "headers_too_large"]
        for header in (b"vary: origin", b"x-content-type-options: nosniff", b"cache-control: private, no-store"):
            assert header in head
        assert b"\r\nx-request-id: " in head
        assert (b"allow-origin: http://localhost:3000" in head) == (origin in request_)
    logged = [(line["status"], line["method"]) for line in lines(server)[before:]]
    assert logged == [(400, ""), (400, ""), (400, "POST"), (431, "")]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET http://x/api/health-check HTTP/1.1\r\nHost: x\r\n", 200),
        (b"GET /api/health-check HTTP/9.9\r\nHost: x\r\n", 400),
        (b"GET /api/h%C3%A9 HTTP/1.1\r\nHost: x\r\n", 404),
        (b"GET /api/h\xc3\xa9 HTTP/1.1\r\nHost: x\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n", 404),
        (b"NO-METHOD / HTTP/1.1\r\nHost: x\r\n", 400),
        (GET + b"X Y: z\r\n", 400),
        (GET + b"X: y\r\n z\r\n", 400),
        (GET + b"X: y\0z\r\n", 400),
    ],
)
def test_head_is_valid_by_the_rules_of_http(server: Server, head: bytes, status: int) -> None:
    assert server.exchange(head + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 %d" % status)


HIDDEN = GET.replace(b"health-check", b"hidden") + b"\r\n"
POST = b"POST /api/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED, SIZED = b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        POST + SIZED + CHUNKED + b"\r\n0\r\n\r\n",
        POST + CHUNKED + SIZED + b"\r\n0\r\n\r\n",
        POST + SIZED + b"Content-Length: 6\r\n\r\nhello",
        POST + SIZED + SIZED + b"\r\nhello",
        POST + b"Content-Length: +5\r\n\r\nhello",
        POST + b"Content-Length: 5, 5\r\n\r\nhello",
        POST + b"Content-Length : 5\r\n\r\nhello",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + CHUNKED + b"\r\n-5\r\nhello\r\n0\r\n\r\n",
        POST + CHUNKED + b"\r\n5\r\nhelloX\r\n0\r\n\r\n",
        POST + CHUNKED + b"\r\n5\nhello\n0\n\n",
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + SIZED + b"\r\n",
    ],
)
def test_request_of_ambiguous_length_is_refused_and_smuggles_no_other(server: Server, request_: bytes) -> None:
    before = len(lines(server))
    response = server.exchange(request_ + HIDDEN)
    assert response.startswith(b"HTTP/1.1 400")
    assert response.count(b"HTTP/1.1 ") == 1
    assert [line for line in lines(server)[before:] if line["status"] != 400] == []


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"TLS/1.0"])
def test_request_for_another_protocol_gets_its_response_over_http(server: Server, protocol: bytes) -> None:
    before = len(lines(server))
    upgrade = b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
    response = server.exchange(GET_OTHER + upgrade + HIDDEN)
    assert response.startswith(b"HTTP/1.1 404")
    assert b"connection: close" in response
    assert [line["path"] for line in lines(server)[before:]] == ["/other"]


def test_pipelined_requests_are_ignored(server: Server) -> None:
    before = len(lines(server))
    response = server.exchange(GET + b"\r\n" + HIDDEN * 1000)
    assert response.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in response
    assert lines(server)[before:] == []


def test_connection_serves_requests_one_after_the_other(server: Server) -> None:
    requests = [GET + b"\r\n", POST + SIZED + b"\r\nhello", POST + CHUNKED + b"\r\n1\r\nx\r\n0\r\nX: y\r\n\r\n"] * 2
    with server.connect() as connection:
        for request_ in requests:
            connection.sendall(request_)
            assert receive(connection).startswith((b"HTTP/1.1 200", b"HTTP/1.1 401"))


def test_trailers_are_ignored(server: Server) -> None:
    body = b"Connection: close\r\n\r\n1\r\nx\r\n0\r\nX-Request-Id: trailer\r\n\r\n"
    response = server.exchange(POST + CHUNKED + body)
    assert b"x-request-id: " in response.lower()
    assert b"trailer" not in response


@pytest.mark.parametrize("size", [b"20000", b"2000000", b"99999999999999"])
def test_expect_100_continue_is_refused_for_an_oversized_body(server: Server, size: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: " + size + b"\r\n\r\n")
        expected = b"HTTP/1.1 100" if size == b"20000" else b"HTTP/1.1 401"
        assert connection.recv(4096).startswith(expected)


@pytest.mark.parametrize(
    ("request_", "response", "statuses"),
    [
        (POST + b"Content-Length: 50\r\n\r\n{", b"HTTP/1.1 400", [400]),
        (POST + CHUNKED + b"\r\n32\r\n{", b"", []),
        (GET + b"\r\n", b"HTTP/1.1 200", []),
        (GET + b"X Y: z\r\n\r\n", b"HTTP/1.1 400", [400]),
        (POST + SIZED + b"\r\nhello", b"HTTP/1.1 401", [401]),
    ],
)
def test_half_closed_client_gets_a_response_unless_chunks_may_be_missing(
    server: Server, request_: bytes, response: bytes, statuses: list[int]
) -> None:
    before = len(lines(server))
    with server.connect() as connection, connection.makefile("rb") as received:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        assert received.read()[:12] == response
    assert [line["status"] for line in lines(server)[before:]] == statuses


def test_client_gets_half_of_the_threads_and_liveness_has_its_own(tmp_path: Path) -> None:
    sleep = "time.sleep('HTTP_AUTHORIZATION' in environ)"
    with (
        server_of(tmp_path, sleep, WEB_THREADS="2", stop_signal=signal.SIGKILL) as server,
        contextlib.ExitStack() as stack,
    ):
        for path, client in [(GET_OTHER, b"greedy")] * 5 + [(GET_OTHER, b"other")]:
            with time_limit(0.5):  # one thread is free for a request without a token
                assert server.exchange(path + b"Connection: close\r\n\r\n").endswith(b"done")
            stack.enter_context(server.connect()).sendall(path + b"Authorization: " + client + b"\r\n\r\n")
            time.sleep(0.1)
        with time_limit(0.3):  # none is free
            assert server.exchange(GET + b"Connection: close\r\n\r\n").endswith(b"done")


def test_dead_worker_is_replaced_again_and_again(server: Server) -> None:
    healthy = responds(f"http://{LOOPBACK}:{server.port}/api/health-check")
    for _ in range(3):
        dead = server.worker()
        dead.kill()
        assert healthy()  # a client that connects meanwhile waits for the next worker
        assert server.worker() != dead
    cpu = server.supervisor.cpu_times()
    assert cpu.user + cpu.system < 1.5


def test_server_ends_if_the_application_cannot_be_created(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", application="nothing:like_it")
    with pytest.raises(EngineError, match="ended with status 1"):
        server.start()
    assert [line["error"] for line in lines(server) if "error" in line] == ["ImportFromStringError"]
    assert (lines(server)[-1]["event"], lines(server)[-1]["status"]) == ("stopped", 1)


def test_failed_restart_of_a_worker_is_repeated(tmp_path: Path) -> None:
    with server_of(tmp_path, WEB_CONCURRENCY="2") as server:
        program = tmp_path / "application.py"
        source = program.read_text()
        program.write_text("raise RuntimeError")
        dead, alive = server.workers()
        dead.kill()
        time.sleep(1)
        assert alive.is_running()
        assert server.exchange(GET + b"Connection: close\r\n\r\n").endswith(b"done")
        program.write_text(source)
        assert eventually(lambda: len(server.workers()) == 2)
        assert server.exchange(GET + b"Connection: close\r\n\r\n").endswith(b"done")


ENDS = [signal.SIGKILL, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT, signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", ENDS)
def test_workers_end_with_their_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    with server_of(tmp_path) as server:
        worker = server.worker()
        server.supervisor.send_signal(number)
        worker.wait(3)
        with pytest.raises(ConnectionRefusedError):
            server.connect()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
def test_starting_worker_ends_with_its_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    with starting_server(tmp_path) as server:
        worker = server.worker()
        server.supervisor.send_signal(number)
        worker.wait(3)


def test_request_in_flight_ends_before_the_worker_of_a_killed_supervisor(tmp_path: Path) -> None:
    with server_of(tmp_path, "time.sleep(1)") as server, server.connect() as connection:
        connection.sendall(GET_OTHER + b"\r\n")
        time.sleep(0.2)
        server.supervisor.send_signal(signal.SIGKILL)
        assert receive(connection).endswith(b"done")


def test_restart_refuses_and_resets_no_request_and_has_the_new_settings(tmp_path: Path) -> None:
    """Half of the clients open a connection for each request, the others keep theirs while the server does.

    All processes get the signal, as a service manager sends it.
    """
    with server_of(tmp_path, "time.sleep(0.01)", WEB_CONCURRENCY="2", WEB_THREADS="8") as server:
        is_over = threading.Event()

        def send_requests(head: bytes) -> Counter[bytes]:
            bodies: Counter[bytes] = Counter()
            while not is_over.is_set():
                with server.connect() as connection:
                    response = b""
                    while not is_over.is_set() and b"connection: close" not in response.lower():
                        connection.sendall(head + b"\r\n")
                        response = receive(connection)
                        assert response.startswith(b"HTTP/1.1 200"), response
                        bodies[response.rpartition(b"\r\n")[2]] += 1
            return bodies

        with ThreadPoolExecutor(8) as threads:
            clients = [threads.submit(send_requests, GET_OTHER + b"Connection: close\r\n") for _ in range(4)]
            clients += [threads.submit(send_requests, GET_OTHER) for _ in range(4)]
            try:
                old = server.workers()
                program = tmp_path / "application.py"
                for body in ("second", "third"):
                    program.write_text(program.read_text().replace("done", "second").replace("second", body))
                    for process in (*old, server.supervisor):
                        process.send_signal(signal.SIGUSR2)
                    psutil.wait_procs(old, timeout=8)
                    assert not any(worker.is_running() for worker in old)
                    old = server.workers()
            finally:
                is_over.set()
            for client in clients:
                assert set(client.result()) == {b"done", b"second", b"third"}
        assert len(old) == 2


def test_restart_reads_the_files_of_settings_again(tmp_path: Path) -> None:
    file = tmp_path / "stack.env"
    stack = "DATABASE_URL={DATABASE_URL}\nAWS_COGNITO_USER_POOL_ID={AWS_COGNITO_USER_POOL_ID}\nFRONTEND_URL={url}\n"
    file.write_text(stack.format(**SETTINGS, url="https://old.example.com"))
    variables = {"LOCAL_DIR": str(tmp_path), "DATABASE_URL": "", "AWS_COGNITO_USER_POOL_ID": ""}
    get = GET + b"Origin: https://new.example.com\r\nConnection: close\r\n\r\n"
    with Server(tmp_path / "log", **variables) as server:
        assert b"https://new.example.com" not in server.exchange(get)
        file.write_text(stack.format(**SETTINGS, url="https://new.example.com"))
        worker = server.worker()
        server.supervisor.send_signal(signal.SIGUSR2)
        worker.wait(8)
        assert b"access-control-allow-origin: https://new.example.com" in server.exchange(get).lower()


def test_restart_to_a_program_that_cannot_start_keeps_the_server(tmp_path: Path) -> None:
    with server_of(tmp_path) as server:
        (tmp_path / "application.py").write_text("raise RuntimeError")
        worker = server.worker()
        server.supervisor.send_signal(signal.SIGUSR2)
        assert eventually(lambda: "restart_failed" in server.log.read_text())  # type: ignore[union-attr]
        assert server.worker() == worker
        assert server.exchange(GET + b"Connection: close\r\n\r\n").endswith(b"done")


def test_connections_of_a_stuck_worker_reach_another_worker(tmp_path: Path) -> None:
    with server_of(tmp_path, WEB_CONCURRENCY="2") as server:
        stuck, _ = server.workers()
        healthy = responds(f"http://{LOOPBACK}:{server.port}/api/health-check")
        stuck.suspend()
        with time_limit(5):
            assert all(healthy() for _ in range(8))
        stuck.resume()


def test_connection_above_the_limit_replaces_an_idle_one_or_is_refused(tmp_path: Path) -> None:
    server = server_of(
        tmp_path, "time.sleep(2 * (environ['PATH_INFO'] == '/slow')); return api(environ, start_response)"
    )
    with (tmp_path / "application.py").open("a") as program:
        program.write("from app import create_app\napi = create_app()\n")
    limit = 50  # half of the files that the server may open
    server.command = ["/bin/sh", "-c", f'ulimit -n {2 * limit} && exec "$@"', "sh", *server.command]
    with server, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(limit)]
        busy = stack.enter_context(server.connect())
        busy.sendall(GET_SLOW + b"\r\n")
        assert idle[0].recv(4096) == b""
        for connection in idle[1:]:
            connection.sendall(GET_OTHER + b"\r\n")
        time.sleep(0.5)
        refused = server.exchange(GET + b"Connection: close\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1\r\n" in refused.lower()
        assert refused.endswith(b'["server_busy"]\n')
        assert lines(server)[-1]["codes"] == ["server_busy"]
        for connection in (busy, *idle[1:]):
            assert receive(connection).startswith(b"HTTP/1.1 404")
        assert server.exchange(GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_port_of_another_program_is_refused(server: Server) -> None:
    process = subprocess.run(server.command, env=server.env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (1, "")
    assert f"cannot listen on {LOOPBACK} port {server.port}" in process.stderr


def test_stop_finishes_requests_in_flight_and_accepts_no_others(tmp_path: Path) -> None:
    with server_of(tmp_path, "time.sleep(1)") as server:
        with server.connect() as connection, server.connect() as idle, server.connect() as half:
            connection.sendall(GET + b"\r\n")
            half.sendall(POST + SIZED + b"\r\n{")
            time.sleep(0.2)
            server.supervisor.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(ConnectionRefusedError):
                server.connect()
            assert idle.recv(4096) == b""
            half.sendall(b"ello")
            assert receive(connection).endswith(b"done")
            assert receive(half).endswith(b"done")
        with time_limit(2):
            server.stop()


def test_stop_is_quick_while_clients_connect_again(tmp_path: Path) -> None:
    with server_of(tmp_path, "time.sleep(0.05)", WEB_CONCURRENCY="2", WEB_THREADS="4") as server:
        is_over = threading.Event()

        def send_requests() -> None:
            while not is_over.is_set():
                with contextlib.suppress(OSError), server.connect() as connection:
                    for _ in range(50):
                        connection.sendall(GET + b"\r\n")
                        if not receive(connection):
                            break

        with ThreadPoolExecutor(6) as threads:
            clients = [threads.submit(send_requests) for _ in range(6)]
            time.sleep(0.5)
            try:
                with time_limit(3):
                    server.stop()
            finally:
                is_over.set()
        assert [client.result() for client in clients] == [None] * 6
