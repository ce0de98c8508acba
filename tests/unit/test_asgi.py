"""The adapter between ASGI and WSGI, without a server: the environ of the application and the events of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.validate import validator

import pytest

import asgi
from routes.errors import IS_DELAYED
from routes.request_body import MAX_BODY_BYTES, REFUSED_STATUS

Headers = list[tuple[bytes, bytes]]
Messages = list[dict[str, Any]]
HOST = (b"host", b"x")
CHUNKED = (b"transfer-encoding", b"chunked")
DISCONNECT = {"type": "http.disconnect"}
LONG = 10 * asgi.MAX_READ_BYTES


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Responds with the request's method and body, in two parts."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])])
    return [environ["REQUEST_METHOD"].encode(), environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]


def describe(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Responds with the refusal, the length, the id and the size of the body that the environ has."""
    start_response("200 OK", [])
    values = [environ.get(key) for key in (REFUSED_STATUS, "CONTENT_LENGTH", "HTTP_X_REQUEST_ID")]
    return [repr((*values, len(environ["wsgi.input"].read()))).encode()]


def exchange(
    wsgi: Any,
    method: str = "GET",
    path: bytes = b"/",
    headers: Headers | None = None,
    body: Messages | None = None,
    *,
    version: str = "1.1",
) -> Messages:
    """The events that the application sends for a request, after which the client sends nothing."""
    sent: Messages = []
    events = iter(body or [])

    async def receive() -> dict[str, Any]:
        return next(events, None) or await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": version,
        "method": method,
        "scheme": "http",
        "raw_path": path,
        "query_string": b"a=b",
        "server": ("127.0.0.1", 4567),
        "client": ("127.0.0.1", 5678),
        "headers": [HOST] if headers is None else headers,
    }
    asyncio.run(asgi.Application(wsgi, threads=1)(scope, receive, send))
    return sent


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    ("method", "headers", "body", "expected"),
    [
        ("GET", [HOST], [], b"GET"),
        ("HEAD", [HOST, (b"accept", b"a"), (b"accept", b"b")], [], b"HEAD"),
        ("POST", [HOST, (b"content-length", b"4")], [part(b"te", more=True), part(b"xt")], b"POSTtext"),
        ("POST", [HOST, (b"content-type", b"a/b"), CHUNKED], [part(b"text")], b"POSTtext"),
        ("POST", [HOST, (b"content-length", b"0")], [part(b"")], b"POST"),
    ],
)
def test_application_gets_a_valid_environ(method: str, headers: Headers, body: Messages, expected: bytes) -> None:
    start, rest = exchange(validator(echo), method, b"/caf%C3%A9/%2F", headers, body)
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert (b"X-Path", b"/caf\xc3\xa9//") in start["headers"]
    assert rest == {"type": "http.response.body", "body": expected}


def test_application_may_write_and_start_again() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("503 Service Unavailable", [], (None, None, None))(b"1")
        yield b"2"

    start, rest = exchange(application)
    assert (start["status"], rest["body"]) == (503, b"12")


def test_error_reaches_the_server_and_the_chunks_are_closed() -> None:
    class Chunks:
        closed = False

        def __iter__(self) -> Iterable[bytes]:
            raise LookupError

        def close(self) -> None:
            self.closed = True

    chunks = Chunks()
    with pytest.raises(LookupError):
        exchange(lambda *_: chunks)
    assert chunks.closed


class Flood:
    """Requests to an application that refuses all of them by a limit; `aborted` counts the connections it cut off."""

    def __init__(self, threads: int = 4) -> None:
        self.application = asgi.Application(self._refuse, threads=threads)
        self.aborted = 0
        self.run = 0

    def _refuse(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.run += 1
        environ[IS_DELAYED] = True
        start_response("429 Too Many Requests", [])
        return [b""]

    async def request(self, *headers: tuple[bytes, bytes], path: bytes = b"/") -> float:
        """Seconds until the response, by the event loop's clock."""
        started_at, finished = time.monotonic(), []

        async def receive() -> dict[str, Any]:
            return DISCONNECT

        async def send(message: dict[str, Any]) -> None:
            finished.append(time.monotonic() - started_at)

        extensions = {"abort": {"call": self._abort}}
        scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "raw_path": path}
        scope |= {"query_string": b"", "server": None, "client": None, "headers": [HOST, *headers]}
        await self.application(scope | {"extensions": extensions}, receive, send)
        return finished[0] if finished else 0

    def _abort(self) -> None:
        self.aborted += 1


ANNA, BERT = (b"authorization", b"Bearer anna"), (b"authorization", b"Bearer bert")


def test_one_token_gets_few_refusals_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "DELAY_SECONDS", 0.2)
    flood = Flood(threads=4)  # two for each client

    async def test() -> None:
        tasks = [asyncio.create_task(flood.request(ANNA)) for _ in range(6)]
        await asyncio.sleep(0.1)
        assert flood.run == 2
        assert 0.2 <= await flood.request(BERT) < 0.35  # not behind Anna's
        seconds = sorted(await asyncio.gather(*tasks))
        assert [round(second / 0.2) for second in seconds] == [1, 1, 2, 3, 4, 5]  # two at once, then one

    asyncio.run(test())


def test_refusal_without_a_token_delays_no_other_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "DELAY_SECONDS", 0.2)
    flood = Flood(threads=2)

    async def test() -> None:
        seconds = await asyncio.gather(*[flood.request() for _ in range(20)])
        assert all(0.2 <= second < 0.38 for second in seconds)

    asyncio.run(test())


def test_token_with_too_many_requests_at_a_time_loses_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "DELAY_SECONDS", 0.05)
    monkeypatch.setattr(asgi, "MAX_REQUESTS_PER_TOKEN", 5)
    flood = Flood(threads=4)

    async def test() -> None:
        seconds = await asyncio.gather(*[flood.request(ANNA) for _ in range(9)], flood.request(BERT))
        assert (flood.aborted, flood.run, seconds.count(0)) == (4, 6, 4)
        assert await flood.request(ANNA) > 0  # the places are free again

    asyncio.run(test())


def test_delays_end_when_the_server_stops() -> None:
    flood = Flood(threads=4)

    async def test() -> None:
        tasks = [asyncio.create_task(flood.request(ANNA)) for _ in range(6)]
        await asyncio.sleep(0.05)
        flood.application.end_streams()
        assert max(await asyncio.gather(*tasks)) < 0.2
        assert await flood.request(ANNA) < 0.1

    asyncio.run(test())


ONE_ID = [(b"content_length", b"nine"), (b"x_request_id", b"a"), (b"x-request-id", b"b")]


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ([HOST], [], (None, None, None, 0)),
        ([], [], (400, None, None, 0)),
        ([HOST, HOST], [], (400, None, None, 0)),
        ([HOST, *ONE_ID], [], (None, None, "b", 0)),  # a header cannot imitate another
        ([HOST, (b"content-length", b"9")], [part(b"short")], (400, "9", None, 5)),
        ([HOST, (b"content-length", b"9")], [part(b"short", more=True)], (408, "9", None, 0)),
        ([HOST, CHUNKED], [part(b"short", more=True)], (408, None, None, 0)),
        ([HOST, CHUNKED], [part(b"x" * 300_000, more=True), part(b"")], (None, "300000", None, MAX_BODY_BYTES + 1)),
        ([HOST, (b"content-length", b"%d" % LONG)], [], (None, str(LONG), None, 0)),
    ],
)
def test_refusal_and_size_are_in_the_environ(
    monkeypatch: pytest.MonkeyPatch, headers: Headers, body: Messages, expected: tuple[int | str | None, ...]
) -> None:
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)
    start, rest = exchange(describe, "POST", headers=headers, body=body)
    assert rest["body"] == repr(expected).encode()
    is_partly_unread = expected[0] == 408 or expected[1] == str(LONG)
    assert ((b"connection", b"close") in start["headers"]) == is_partly_unread


@pytest.mark.parametrize(("headers", "refusal"), [([], None), ([HOST, HOST], 400)])
def test_http_1_0_needs_no_host(headers: Headers, refusal: int | None) -> None:
    assert exchange(describe, headers=headers, version="1.0")[1]["body"] == repr((refusal, None, None, 0)).encode()


def test_request_of_a_disconnected_client_is_not_run() -> None:
    headers = [HOST, (b"content-length", b"9")]
    assert exchange(None, "POST", headers=headers, body=[part(b"short", more=True), DISCONNECT]) == []
