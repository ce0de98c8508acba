"""The API behind its real server: what only shows on a socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lib.config import ROOT
from tests.support.api_server import SETTINGS, ApiServer
from tools.local_stack.processes import LOOPBACK, Child, EngineError, answers, bare_environment, free_port

SECRET = "a-secret-of-somebody@example.com"
GET = b"GET /api/health-check HTTP/1.1\r\nHost: x\r\n"
GET_OTHER, GET_SLOW = (GET.replace(b"/api/health-check", path) for path in (b"/other", b"/slow"))


class Server(ApiServer):
    """One worker with one thread, if nothing else is said, and nothing behind it."""

    def __init__(self, log: Path, **options: Any) -> None:
        super().__init__(log, **{"WEB_CONCURRENCY": "1", "WEB_THREADS": "1"} | options)

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.port), timeout=20)

    def says(self, request: bytes) -> bytes:
        """Everything that is answered on a connection of its own."""
        with self.connect() as connection, connection.makefile("rb") as answer:
            connection.sendall(request)
            return answer.read()

    def worker(self) -> psutil.Process:
        [worker] = psutil.Process(self.pid).children()
        return worker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "log") as server:
        yield server


def slow(folder: Path, statement: str, **options: Any) -> Server:
    """A server with an application that does this."""
    (folder / "slow.py").write_text(
        "import time\n"
        "def make():\n"
        "    def application(environ, start_response):\n"
        "        start_response('200 OK', [])\n"
        f"        {statement}\n"
        "    return application\n"
    )
    return Server(folder / "log", application="slow:make", PYTHONPATH=str(folder), **options)


def reply(connection: socket.socket) -> bytes:
    """One answer, of which the head and the body may come apart."""
    answer = connection.recv(4096)
    return answer + connection.recv(4096) if answer.endswith(b"\r\n\r\n") else answer


def lines(server: Server) -> list[str]:
    assert server.log is not None
    return server.log.read_text().splitlines()


def test_a_stop_does_not_wait_for_a_worker_that_is_still_starting(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(60)\n")
    server = Child(
        "a slow server",
        [sys.executable, ROOT / "serve.py", "slow:create_app"],
        env=bare_environment(**SETTINGS, PORT=str(free_port()), PYTHONPATH=str(tmp_path)),
        ready=(tmp_path / "begun").exists,
        log=tmp_path / "log",
        cwd=tmp_path,
    )
    with server:
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5


def test_each_line_of_the_log_is_json_and_a_request_leaves_one(server: Server) -> None:
    before = len(lines(server))
    server.says(GET + b"Connection: close\r\n\r\n")
    assert [json.loads(line)["event"] for line in lines(server)[before:]] == ["request"]
    assert all(json.loads(line) for line in lines(server))


def test_the_log_counts_the_time_that_a_body_took(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(POST + SIZED + b"\r\n")
        time.sleep(0.3)
        connection.sendall(b"hello")
        assert reply(connection).startswith(b"HTTP/1.1 401")
    assert 300 <= json.loads(lines(server)[-1])["ms"] < 5000


def test_malformed_request_is_refused_and_its_content_stays_out_of_the_log(server: Server) -> None:
    body = '{"message": "' + "é" * 60 + SECRET + '"}'
    counted_in_characters = f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    server.says(b"POST /api/messages HTTP/1.1\r\nHost: x\r\n" + counted_in_characters + GET + b"\r\n")
    assert server.says(GET + f"Authorization Bearer {SECRET}\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")
    assert SECRET not in "\n".join(lines(server))


@pytest.mark.parametrize(
    "head",
    [GET + b"X: x\r\n" * 200, GET + b"X: " + b"x" * 40_000, b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n"],
)
@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_that_is_too_large_is_refused(server: Server, head: bytes, end: bytes) -> None:
    assert server.says(head + end).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /api/health-check HTTP/1.1\r\n", 400),
        (GET + b"Host: y\r\n", 400),
        (b"GET /api/health-check HTTP/1.0\r\n", 200),
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
def test_what_http_says_of_a_head_is_kept_to(server: Server, head: bytes, status: int) -> None:
    answer = server.says(head + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d" % status)


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
def test_a_request_whose_length_is_in_doubt_is_refused_and_hides_none(server: Server, request_: bytes) -> None:
    before = len(lines(server))
    answer = server.says(request_ + HIDDEN)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert [line for line in lines(server)[before:] if json.loads(line)["status"] != 400] == []


def test_what_follows_a_request_before_its_answer_is_not_run(server: Server) -> None:
    before = len(lines(server))
    answer = server.says(GET + b"\r\n" + HIDDEN * 1000)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
    assert [json.loads(line)["status"] for line in lines(server)[before:]] == [200]


def test_a_connection_serves_one_request_after_the_other(server: Server) -> None:
    requests = [GET + b"\r\n", POST + SIZED + b"\r\nhello", POST + CHUNKED + b"\r\n1\r\nx\r\n0\r\nX: y\r\n\r\n"] * 2
    with server.connect() as connection:
        for request_ in requests:
            connection.sendall(request_)
            assert reply(connection).startswith((b"HTTP/1.1 200", b"HTTP/1.1 401"))


def test_trailers_are_no_headers(tmp_path: Path) -> None:
    with slow(tmp_path, "return [environ.get('HTTP_X_REQUEST_ID', 'none').encode()]") as server:
        body = b"Connection: close\r\n\r\n1\r\nx\r\n0\r\nX-Request-Id: y\r\n\r\n"
        assert server.says(POST + CHUNKED + body).endswith(b"none")


@pytest.mark.parametrize("size", [b"20000", b"2000000", b"99999999999999"])
def test_who_asks_before_sending_is_told_that_it_is_too_much(server: Server, size: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: " + size + b"\r\n\r\n")
        expected = b"HTTP/1.1 100" if size == b"20000" else b"HTTP/1.1 401"
        assert connection.recv(4096).startswith(expected)


@pytest.mark.parametrize(
    ("request_", "answer", "statuses"),
    [
        (POST + b"Content-Length: 50\r\n\r\n{", b"HTTP/1.1 400", [400]),
        (POST + CHUNKED + b"\r\n32\r\n{", b"", []),
        (GET + b"\r\n", b"HTTP/1.1 200", [200]),
        (POST + SIZED + b"\r\nhello", b"HTTP/1.1 401", [401]),
    ],
)
def test_half_closed_client_is_answered_unless_chunks_may_be_missing(
    server: Server, request_: bytes, answer: bytes, statuses: list[int]
) -> None:
    before = len(lines(server))
    with server.connect() as connection, connection.makefile("rb") as received:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        assert received.read()[:12] == answer
    assert [json.loads(line)["status"] for line in lines(server)[before:]] == statuses


def test_one_client_has_half_of_the_threads(tmp_path: Path) -> None:
    statement = "time.sleep(environ.get('HTTP_AUTHORIZATION') == 'greedy'); return [b'done']"
    with (
        slow(tmp_path, statement, WEB_THREADS="2", stop_signal=signal.SIGKILL) as server,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(5):
            stack.enter_context(server.connect()).sendall(GET_OTHER + b"Authorization: greedy\r\n\r\n")
        time.sleep(0.2)
        began = time.monotonic()
        assert server.says(GET_OTHER + b"Authorization: other\r\nConnection: close\r\n\r\n").endswith(b"done")
        assert time.monotonic() - began < 0.5


def test_health_checks_have_a_thread_of_their_own(tmp_path: Path) -> None:
    statement = "time.sleep(environ['PATH_INFO'] == '/slow'); return [b'done']"
    with slow(tmp_path, statement) as server, server.connect() as connection:
        connection.sendall(GET_SLOW + b"\r\n")
        time.sleep(0.1)
        began = time.monotonic()
        assert server.says(GET + b"Connection: close\r\n\r\n").endswith(b"done")
        assert time.monotonic() - began < 0.5


def test_workers_that_die_are_replaced_however_often(server: Server) -> None:
    healthy = answers(f"http://{LOOPBACK}:{server.port}/api/health-check")
    for _ in range(3):
        dead = server.worker()
        dead.kill()
        assert healthy()  # who asks meanwhile waits for the next worker
        assert server.worker() != dead
    cpu = psutil.Process(server.pid).cpu_times()
    assert cpu.user + cpu.system < 1.5


def test_an_application_that_cannot_be_made_ends_the_server(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", application="nothing:like_it")
    with pytest.raises(EngineError, match="ended with status 1"):
        server.start()
    assert json.loads(lines(server)[0])["error"] == "ImportFromStringError"


def test_a_worker_that_cannot_be_started_again_is_waited_for(tmp_path: Path) -> None:
    with slow(tmp_path, "return [b'done']", WEB_CONCURRENCY="2") as server:
        program = tmp_path / "slow.py"
        source = program.read_text()
        program.write_text("raise RuntimeError")
        dead, alive = psutil.Process(server.pid).children()
        dead.kill()
        time.sleep(1)
        assert alive.is_running()
        assert server.says(GET + b"Connection: close\r\n\r\n").endswith(b"done")
        program.write_text(source)
        deadline = time.monotonic() + 5
        while len(psutil.Process(server.pid).children()) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert server.says(GET + b"Connection: close\r\n\r\n").endswith(b"done")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_server(tmp_path: Path, number: signal.Signals) -> None:
    with slow(tmp_path, "return [b'done']") as server:
        worker = server.worker()
        assert server.pid is not None
        os.kill(server.pid, number)
        worker.wait(3)
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_who_would_wait_for_a_worker_that_is_stuck_is_served_by_another(tmp_path: Path) -> None:
    with slow(tmp_path, "return [b'done']", WEB_CONCURRENCY="2") as server:
        stuck, _ = psutil.Process(server.pid).children()
        healthy = answers(f"http://{LOOPBACK}:{server.port}/api/health-check")
        stuck.suspend()
        began = time.monotonic()
        assert all(healthy() for _ in range(8))
        assert time.monotonic() - began < 5
        stuck.resume()


def test_more_clients_than_a_worker_takes_push_out_the_idle_or_are_refused(tmp_path: Path) -> None:
    server = slow(tmp_path, "time.sleep(2 * (environ['PATH_INFO'] == '/slow')); return [b'done']")
    most = 50  # of half of the files that the server may open
    server.command = ["/bin/sh", "-c", f'ulimit -n {2 * most} && exec "$@"', "sh", *server.command]
    with server, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(most)]
        busy = stack.enter_context(server.connect())
        busy.sendall(GET_SLOW + b"\r\n")
        assert idle[0].recv(4096) == b""
        for connection in idle[1:]:
            connection.sendall(GET_OTHER + b"\r\n")
        time.sleep(0.5)
        refused = server.says(GET + b"Connection: close\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1\r\n" in refused
        for connection in (busy, *idle[1:]):
            assert reply(connection).startswith(b"HTTP/1.1 200")
        assert server.says(GET + b"Connection: close\r\n\r\n").endswith(b"done")


def test_a_port_that_somebody_has_is_not_shared(server: Server) -> None:
    done = subprocess.run(server.command, env=server.env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on {LOOPBACK} port {server.port}" in done.stderr


def test_a_stop_lets_requests_in_flight_finish_and_takes_no_others(tmp_path: Path) -> None:
    with slow(tmp_path, "time.sleep(1); return [b'done']") as server:
        assert server.pid is not None
        with server.connect() as connection, server.connect() as idle, server.connect() as half:
            connection.sendall(GET + b"\r\n")
            half.sendall(POST + SIZED + b"\r\n{")
            time.sleep(0.2)
            os.kill(server.pid, signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(ConnectionRefusedError):
                server.connect()
            assert idle.recv(4096) == b""
            half.sendall(b"ello")
            assert reply(connection).endswith(b"done")
            assert reply(half).endswith(b"done")
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 2


def test_a_stop_is_quick_though_clients_connect_again(tmp_path: Path) -> None:
    with slow(tmp_path, "time.sleep(0.05); return [b'done']", WEB_CONCURRENCY="2", WEB_THREADS="4") as server:
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError), server.connect() as connection:
                    for _ in range(50):
                        connection.sendall(GET + b"\r\n")
                        if not reply(connection):
                            break

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        began = time.monotonic()
        server.stop()
        took = time.monotonic() - began
        over.set()
        for thread in threads:
            thread.join()
        assert took < 3


def test_it_listens_where_it_is_told_to(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", HOST="::1")
    server.ready = answers(f"http://[::1]:{server.port}/api/health-check")
    with server, socket.create_connection(("::1", server.port)) as connection:
        assert connection.getpeername()[0] == "::1"
