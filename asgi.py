"""Serves a WSGI application over ASGI: a request takes a thread only after all of it has arrived.

The event loop receives the body and limits its time and size, so a slow client holds no thread. A refused request still
reaches the application, with its status in the environ. The application logs it and responds as to any error. So does
a request that serve.py refuses.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext, suppress
from functools import lru_cache
from io import BytesIO
from queue import SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import unquote_to_bytes
from weakref import WeakValueDictionary

from routes.errors import IS_DELAYED
from routes.events import EVENT_STREAM, EventStream
from routes.request_body import MAX_BODY_BYTES, REFUSED_STATUS, STARTED_AT

BODY_SECONDS = 5.0  # for the whole body
# Liveness has its own thread, because an orchestrator restarts a process that does not respond.
LIVENESS_PATH = "/api/health-check"
SEND_SECONDS = 10.0  # for a client to read an event of a stream
DELAY_SECONDS = 0.25  # of a refusal by a limit
MAX_REQUESTS_PER_TOKEN = 200  # at a time, including those that wait for a thread
MAX_READ_BYTES = 1024 * 1024  # of a body that is too large: an earlier end of the connection could drop the response

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Response = tuple[int, list[tuple[bytes, bytes]], bytes]
Queue = SimpleQueue[tuple[asyncio.Future[Response], Environ]]


class _Client(asyncio.Semaphore):
    """Admits at most `threads` requests of one client at a time; `requests` counts the waiting ones, too."""

    def __init__(self, threads: int, *, has_token: bool) -> None:
        super().__init__(threads)
        self.has_token = has_token
        self.requests = 0
        self.single_turn = asyncio.Lock()
        self.is_refused = False  # whether a limit has refused a request since the client last had none

    async def __aenter__(self) -> None:
        self.requests += 1
        try:
            await super().__aenter__()
        except BaseException:
            self.requests -= 1
            raise

    async def __aexit__(self, *error: object) -> None:
        self.requests -= 1
        self.release()


class Application:
    """An ASGI application that runs a WSGI application in a bounded number of threads.

    One client uses at most half of the threads. They are daemons, so a request that hangs does not block the exit.
    """

    def __init__(self, wsgi: WsgiApp, *, threads: int) -> None:
        self._wsgi = wsgi
        self._queue: Queue = SimpleQueue()
        self._liveness_queue: Queue = SimpleQueue()
        for queue in (self._liveness_queue, *[self._queue] * threads):
            Thread(target=self._work, args=[queue], daemon=True).start()
        self._threads_per_client = max(1, threads // 2)
        self._clients: WeakValueDictionary[str, _Client] = WeakValueDictionary()
        self._streams: set[EventStream] = set()
        self._stopping = asyncio.Event()

    def end_streams(self) -> None:
        """End all event streams and delays, also those that begin later: they would keep the server from stopping."""
        self._stopping.set()
        for stream in tuple(self._streams):
            stream.close("server stops")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if stream := await self._exchange(scope, receive, send):
            scope["headers"] = []  # a stream may stay open for hours
            await self._send_stream(stream, scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> EventStream | None:
        """Receive a request and send its response; of a stream's response, send the head and return the stream."""
        environ, is_whole = _build_environ(scope), True
        hosts = [name for name, _ in scope["headers"]].count(b"host")
        if hosts > 1 or (hosts == 0 and scope["http_version"] != "1.0"):  # RFC 9112, section 3.2
            environ[REFUSED_STATUS] = 400
        if "CONTENT_LENGTH" in environ or environ.pop("HTTP_TRANSFER_ENCODING", None):
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    is_whole = await _receive_body(environ, receive)
            except TimeoutError:
                environ[REFUSED_STATUS], is_whole = 408, False
            except ConnectionError:
                return None
        response = await self._take_turn(environ)
        if not response:
            scope["extensions"]["abort"]["call"]()
            await _wait_for_departure(receive)
            return None
        status, headers, body = response
        stream: EventStream | None = environ.get(EVENT_STREAM)
        if stream or not is_whole:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if not stream:
            await send({"type": "http.response.body", "body": body})
        return stream

    async def _send_stream(self, stream: EventStream, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a stream's events until it ends, the client leaves, or the client does not read them."""
        self._streams.add(stream)
        departure = asyncio.create_task(_wait_for_departure(receive))
        departure.add_done_callback(lambda _: stream.close("client left"))
        if self._stopping.is_set():
            stream.close("server stops")
        if "eof" in scope["extensions"]:
            stream.close("client left")
        try:
            async for chunk in stream.chunks():
                async with asyncio.timeout(SEND_SECONDS):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            async with asyncio.timeout(SEND_SECONDS):
                await send({"type": "http.response.body"})
        except TimeoutError:
            stream.close("client does not read")
            scope["extensions"]["abort"]["call"]()
            await departure
        finally:
            stream.close("failed")
            departure.cancel()
            self._streams.discard(stream)
            stream.log_end()

    async def refuse(self, scope: Scope, status: int) -> Response:
        """The response to a request that the server refuses. `scope` has what the server knows of the request."""
        unknown = {"method": "", "raw_path": b"/", "query_string": b"", "http_version": "1.1", "headers": []}
        environ = _build_environ({**unknown, "scheme": "http", "server": None, "client": None, **scope})
        return await _run(environ | {REFUSED_STATUS: status}, self._liveness_queue)

    async def _take_turn(self, environ: Environ) -> Response | None:
        """Run a request when it is its client's turn; None if the client has too many requests at a time."""
        if environ["PATH_INFO"] == LIVENESS_PATH:
            return await _run(environ, self._liveness_queue)
        client = self._client(environ)
        if client.has_token and client.requests >= MAX_REQUESTS_PER_TOKEN:
            return None
        # After a refusal, the client has one turn at a time: several at once would slow others for a moment.
        async with client, client.single_turn if client.is_refused else nullcontext():
            response = await _run(environ, self._queue)
            if client.has_token and IS_DELAYED in environ:
                client.is_refused = True
                await self._delay(environ)
        if not client.has_token:  # other people send the other requests of this path
            await self._delay(environ)
        return response

    def _client(self, environ: Environ) -> _Client:
        """The client of a request, by its token. Requests without a token share one for each path."""
        token = environ.get("HTTP_AUTHORIZATION")
        client = _Client(self._threads_per_client, has_token=bool(token))
        return self._clients.setdefault(token or environ["PATH_INFO"], client)

    async def _delay(self, environ: Environ) -> None:
        """Wait before a refusal by a limit, so that a flood gets few of them in a second.

        The delay does not end when the client leaves: a flood over new connections is delayed, too.
        """
        if IS_DELAYED in environ:
            with suppress(TimeoutError):
                async with asyncio.timeout(DELAY_SECONDS):
                    await self._stopping.wait()

    def _work(self, queue: Queue) -> None:
        while True:
            future, environ = queue.get()
            try:
                outcome: Response | BaseException = self._respond(environ)
            except BaseException as error:
                outcome = error
            future.get_loop().call_soon_threadsafe(_settle, future, outcome)

    def _respond(self, environ: Environ) -> Response:
        status_and_headers: list[Any] = []
        body: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[..., None]:
            status_and_headers[:] = status, headers
            return body.append

        chunks = self._wsgi(environ, start_response)
        try:
            body.extend(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        status, headers = status_and_headers
        names = {name.lower() for name, _ in headers}
        is_stream = environ.get(EVENT_STREAM) is not None
        has_body = not is_stream and environ["REQUEST_METHOD"] != "HEAD" and status[:3] not in ("204", "304")
        if has_body and "content-length" not in names:
            headers.append(("Content-Length", str(sum(map(len, body)))))
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return int(status[:3]), encoded, b"".join(body)


async def _wait_for_departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _run(environ: Environ, queue: Queue) -> Response:
    future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    queue.put((future, environ))
    return await future


def _settle(future: asyncio.Future[Response], outcome: Response | BaseException) -> None:
    if future.cancelled():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


async def _receive_body(environ: Environ, receive: Receive) -> bool:
    """Put the body into the environ; return whether all of it arrived. Raises ConnectionError if the client left."""
    declared = int(environ.get("CONTENT_LENGTH") or 0)
    body, size, more = bytearray(), 0, True
    while more and max(size, declared) <= MAX_READ_BYTES:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError
        body += event.get("body", b"")
        size += len(event.get("body", b""))
        more = event.get("more_body", False)
        del body[MAX_BODY_BYTES + 1 :]
    if not more and size < declared:
        environ[REFUSED_STATUS] = 400
    environ["CONTENT_LENGTH"] = str(max(size, declared))  # by this, the application rejects a body that is too large
    environ["wsgi.input"] = BytesIO(body)
    return not more


def _build_environ(scope: Scope) -> Environ:
    server, client = scope["server"] or ("", 0), scope["client"] or ("", 0)  # None after a reset
    environ: Environ = {
        STARTED_AT: time.perf_counter(),
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope["http_version"] != "1.0":  # whose responses cannot be chunked
        environ[EVENT_STREAM] = None
    for name, value in scope["headers"]:
        if key := _environ_key(name):
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
    environ.pop("HTTP_UPGRADE", None)  # a server may ignore it (RFC 9110, section 7.8); werkzeug refuses a WebSocket
    return environ


@lru_cache(maxsize=256)
def _environ_key(name: bytes) -> str | None:
    """The environ's key for a header; None for a name with an underscore, which could imitate another header."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
