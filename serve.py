"""Serves the API with uvicorn and the application's settings: `python serve.py`, locally and in production.

One process, the supervisor, starts the workers and replaces a worker that ends. uvicorn's own supervisor does not fit:
at a stop, it waits for workers that are still importing the application; and if it is killed, its workers live on.

    SIGTERM, SIGINT   finish the requests in flight, then end
    SIGUSR2           restart with new settings and code; the sockets stay open, so no connection is refused or reset
    any other         end; the workers finish the requests in flight and end, even after SIGKILL
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from threading import Thread

import uvicorn
import uvloop
from httptools import HttpParserError
from uvicorn.config import STARTUP_FAILURE
from uvicorn.importer import import_from_string
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from asgi import Application
from lib.config import Settings, SettingsError, load
from lib.logs import configure, log
from lib.version import VERSION

KEEP_ALIVE_SECONDS = 75  # longer than the usual 60 s of a load balancer, so that the load balancer closes first
HEAD_SECONDS = 5  # to receive the headers, after the connection or the first byte of a later request
GRACE_SECONDS = 10  # for requests in flight to finish when the server stops
KILL_SECONDS = 2  # after them, before a worker that still runs is killed
DRAIN_SECONDS = 1  # for the next request of an idle connection when the server stops; it may be on its way
RESTART_SECONDS = 0.2  # before the server replaces a worker that ended
FAILED_START_SECONDS = 1  # before the server replaces a worker that could not start
HELP_SECONDS = 0.2  # until another worker accepts a stuck worker's connections
SEND_BUFFER_BYTES = 64 * 1024  # of a response that the client does not read; the kernel takes up to 4 MB by default
REFUSED_SECONDS = 1  # for a refused client to stop sending and read the response
UNREAD_SECONDS = 30  # the longest that a client may leave a response unread
CONNECTIONS = 2500  # for each worker; most of them wait for their next request
MAX_HEAD_BYTES, MAX_HEADERS = 32 * 1024, 100
MAX_REQUEST_BYTES = 2 * 1024 * 1024  # chunk framing included; asgi.py reads less

_STOP = {signal.SIGTERM, signal.SIGINT}
_RESTART = signal.SIGUSR2
_CHECK_SECONDS = 60  # for the new application to start
_DESCRIPTORS = "CRUDDUR_SERVER_DESCRIPTORS"
"""Variable of a restarted server: the end of a pipe that ends the old workers, then the listening sockets."""

_logger = logging.getLogger("uvicorn.error")


class Connection(HttpToolsProtocol):
    """uvicorn's connection with limits that uvicorn lacks: a request's size and time, and the number of connections.

    It ignores data that arrives before the response and closes after the response, so a client can neither smuggle a
    pipelined request nor get responses in the wrong order.
    """

    limit = CONNECTIONS
    is_stopping = False
    idle: OrderedDict[Connection, None] = OrderedDict()  # connections without a complete request, the oldest first

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.received = 0  # bytes of the incomplete request
        self.refusal: asyncio.Task[None] | None = None
        self.head_deadline = self.loop.time() + HEAD_SECONDS
        self.expect_head()
        self.idle[self] = None
        if len(self.connections) > self.limit:
            oldest, _ = self.idle.popitem(last=False)
            if oldest is self:
                self.refuse(503)
            else:
                oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.idle.pop(self, None)
        if self.timeout_keep_alive_task:
            self.timeout_keep_alive_task.cancel()

    def data_received(self, data: bytes) -> None:
        if self.refusal:
            return
        if self.is_responding():
            self.cycle.keep_alive = False
            return
        if not self.received:
            self.head_deadline = self.loop.time() + HEAD_SECONDS
        self.received += len(data)
        super().data_received(data)
        if self.received > MAX_REQUEST_BYTES:
            self.transport.abort()
        elif self.cycle is None or self.cycle.response_complete:  # the headers are incomplete
            if self.received > MAX_HEAD_BYTES or len(self.headers or ()) > MAX_HEADERS:
                self.refuse(431)
            self.expect_head()

    def expect_head(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_at(self.head_deadline, self.timeout_keep_alive_handler)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Still respond if the client has sent its whole request and closed its half of the connection.

        A client that ends an event stream looks the same. So this ends a stream: the client's place becomes free.
        """
        if self.refusal:
            return True
        if self.cycle is None or self.cycle.response_complete:
            return False
        if self.cycle.more_body:
            if not any(name == b"content-length" for name, _ in self.cycle.scope["headers"]):
                return False  # chunks may be missing
            self.cycle.more_body = False
            self.cycle.message_event.set()
        if self.cycle.response_started:  # of an event stream; any other response has ended as soon as it has begun
            self.transport.abort()
        self.cycle.scope["extensions"]["eof"] = {}
        self.cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        if self.is_responding():
            raise HttpParserError
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        size = self.received  # at least the head's size
        if size > MAX_HEAD_BYTES:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self.refuse(431)
            raise HttpParserError
        super().on_headers_complete()
        self.cycle.scope["extensions"] = {"abort": {"call": self.transport.abort}}
        if self.is_stopping or self.parser.should_upgrade():  # the parser treats the body as the new protocol
            self.cycle.keep_alive = False
        self.headers = []  # uvicorn appends trailers, which nobody reads

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.received = 0
        self.idle.pop(self, None)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.idle[self] = None

    def shutdown(self) -> None:
        """Close after the next response, or a moment later if no request comes."""
        Connection.is_stopping = True
        if self.is_idle():
            self.loop.call_later(DRAIN_SECONDS, self.close_if_idle)
        else:
            self.cycle.keep_alive = False

    def close_if_idle(self) -> None:
        if self.is_idle():
            self.transport.close()

    def is_idle(self) -> bool:
        """Whether no request has begun since the last response."""
        return self.cycle is None or self.cycle.response_complete

    def is_responding(self) -> bool:
        """Whether a complete request still waits for its response."""
        return self.cycle is not None and not (self.cycle.more_body or self.cycle.response_complete)

    def send_400_response(self, msg: str) -> None:
        if self.is_responding():
            self.cycle.keep_alive = False
        else:
            self.refuse(400)

    def refuse(self, status: int) -> None:
        self.refusal = self.refusal or self.loop.create_task(self.send_refusal(status))

    async def send_refusal(self, status: int) -> None:
        """Respond as the application does to any error, and close."""
        try:
            application: Application = self.config.app  # type: ignore[assignment]
            status, headers, body = await application.refuse(dict(self.scope or {}), status)
            if not self.transport.is_closing():
                head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
                self.transport.write(STATUS_LINE[status] + head + b"connection: close\r\n\r\n" + body)
                self.transport.write_eof()
                # An immediate close could drop the response to a client that is still sending.
                await asyncio.sleep(REFUSED_SECONDS)
        finally:
            self.transport.abort()


def main(application: str = "app:create_app") -> None:
    """Serve until SIGTERM or SIGINT. `application` is a factory of a WSGI application, as `module:name`."""
    descriptors = [int(number) for number in os.environ.pop(_DESCRIPTORS, "").split()]
    environment = dict(os.environ)  # without the variables of `.env`, which a restart reads again
    try:
        settings = load(Settings)
    except SettingsError as error:
        sys.exit(str(error))
    configure(settings.log_level)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the parent process may ignore it
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 2 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, 2 * CONNECTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    Connection.limit = files // 2
    if descriptors:
        old_workers, *numbers = descriptors
        listeners = [socket.socket(fileno=number) for number in numbers]
    else:
        old_workers, listeners = None, listen(settings.host, settings.port, settings.web_concurrency)
    sys.exit(supervise(settings, application, listeners, old_workers, partial(restart, application, environment)))


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """One socket per worker; the kernel spreads connections over them. Exits if the port is in use."""
    create = partial(socket.create_server, (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        create().close()  # reuse_port alone would share the port with another program
        listeners = [create(reuse_port=True, backlog=2048) for _ in range(count)]
    except OSError as error:
        sys.exit(f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}")
    for listener in listeners:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # its connections inherit it
        if sys.platform == "linux":
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
    return listeners


def supervise(
    settings: Settings,
    application: str,
    listeners: list[socket.socket],
    old_workers: int | None,
    restart: Callable[[list[int]], None],
) -> int:
    """Keep a worker at each socket until SIGTERM or SIGINT, and return the exit status.

    `old_workers` is a pipe that ends the workers of before a restart. It closes when the new workers serve. `restart`
    gets the descriptors that the restarted server needs.
    """
    signals = {*_STOP, _RESTART, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # sigwait returns them
    supervisor_pipe = os.pipe()  # its write end closes when this process ends, even by SIGKILL
    workers: dict[int, socket.socket] = {}
    # If one of the first workers cannot start, the server ends. If a later one cannot, the others still serve.
    first: set[int] = set()
    unserved, failed = listeners, False
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{settings.port}"
    log("started", version=VERSION, address=address, workers=len(listeners), mode=settings.group_updates)
    while not failed:
        for listener in unserved:
            workers[start(settings, application, listener, listeners, supervisor_pipe, old_workers)] = listener
        if not first and old_workers is not None:
            os.close(old_workers)
        first, old_workers = first or set(workers), None
        number = signal.sigwait(signals)
        if number in _STOP:
            break
        if number == _RESTART:
            restart([supervisor_pipe[1], *(listener.fileno() for listener in listeners)])
        codes = ended(workers)
        unable = {pid for pid, code in codes.items() if code == STARTUP_FAILURE}
        failed = bool(unable & first)
        unserved = [workers.pop(pid) for pid in codes]
        if signal.sigtimedwait(_STOP, FAILED_START_SECONDS if unable else RESTART_SECONDS):
            break
    log("stopping", workers=len(workers))
    for listener in listeners:
        listener.close()
    log("stopped", killed_workers=stop(workers), status=int(failed))
    return int(failed)


def stop(workers: dict[int, socket.socket]) -> int:
    """End the workers; return how many of them needed SIGKILL."""
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS + KILL_SECONDS
    while workers and (seconds_left := deadline - time.monotonic()) > 0:
        signal.sigtimedwait({signal.SIGCHLD}, seconds_left)
        for pid in ended(workers):
            del workers[pid]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    return len(workers)


def restart(application: str, environment: dict[str, str], descriptors: list[int]) -> None:
    """Replace the program of this process by a new server with the same sockets. Return if that one cannot start."""
    command = [sys.executable, "-c", "import sys, serve; serve.check(*sys.argv[1:])", application]
    try:
        subprocess.run(command, env=environment, cwd=Path(__file__).parent, check=True, timeout=_CHECK_SECONDS)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        log("restart_failed", level=logging.ERROR)
        return
    for number in descriptors:
        os.set_inheritable(number, True)
    variables = {**environment, _DESCRIPTORS: " ".join(map(str, descriptors))}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], variables)  # noqa: S606


def check(application: str) -> None:
    """Exit with an error unless a worker with the current settings can start."""
    try:
        configure(load(Settings).log_level)
        import_from_string(application)()
    except SettingsError as error:
        sys.exit(str(error))


def ended(workers: Collection[int]) -> dict[int, int]:
    """The exit statuses of workers that ended since the last call."""
    codes: dict[int, int] = {}
    while len(codes) < len(workers):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            break
        if pid in workers:  # the first process of a container also gets children of other processes
            codes[pid] = os.waitstatus_to_exitcode(status)
    return codes


def start(
    settings: Settings,
    application: str,
    listener: socket.socket,
    listeners: list[socket.socket],
    supervisor_pipe: tuple[int, int],
    old_workers: int | None,
) -> int:
    """Start a worker and return its process id."""
    if pid := os.fork():
        return pid
    code = STARTUP_FAILURE
    try:
        os.close(supervisor_pipe[1])
        Thread(target=end_with_supervisor, args=[supervisor_pipe[0]], daemon=True).start()
        for number in (signal.SIGINT, _RESTART):  # Ctrl-C and service managers send them to every process
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        asgi_application = Application(import_from_string(application)(), threads=settings.web_threads)
        code = 1
        other_listeners = [other for other in listeners if other is not listener]
        uvloop.run(serve(asgi_application, listener, other_listeners, old_workers))
    except SettingsError as error:
        if listener is listeners[0]:  # every worker has the same settings
            _logger.error(str(error))
    except BaseException:
        _logger.exception("the worker failed")
    finally:
        os._exit(code)  # does not wait for requests that hang


def end_with_supervisor(supervisor_pipe: int) -> None:
    """End this worker after the supervisor: finish the requests in flight if it serves, else end at once."""
    os.read(supervisor_pipe, 1)  # returns when the write end closes
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS + KILL_SECONDS)
    os._exit(1)


async def serve(
    application: Application, listener: socket.socket, other_listeners: list[socket.socket], old_workers: int | None
) -> None:
    """Serve as one of the workers until SIGTERM. End the old workers of a restarted server."""
    config = uvicorn.Config(
        application,
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,  # the application logs one line of JSON per request
        log_config=None,
        log_level="error",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    connection = partial(Connection, config, server.server_state, {})

    async def help_others() -> None:
        """Accept connections that wait for a stuck or missing worker."""
        while not server.should_exit:
            for other in other_listeners:
                with contextlib.suppress(OSError):  # no connection waits, or its client left
                    while True:
                        await loop.connect_accepted_socket(connection, other.accept()[0])
            await asyncio.sleep(HELP_SECONDS)
        application.end_streams()
        for other in other_listeners:
            other.close()

    if old_workers is not None:
        os.close(old_workers)
    help_task = loop.create_task(help_others())
    await server.serve([listener])
    await help_task


if __name__ == "__main__":
    main(*sys.argv[1:])
