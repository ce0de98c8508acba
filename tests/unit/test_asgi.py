"""The adapter between ASGI and WSGI, without a server: what the application sees, and what is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.validate import validator

import pytest

import asgi
from routes.request_body import MAX_BODY_BYTES, REFUSED

Headers = list[tuple[bytes, bytes]]
Messages = list[dict[str, Any]]
HOST = (b"host", b"x")
GONE = {"type": "http.disconnect"}
LONG = 10 * asgi.MAX_READ_BYTES


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with what it was asked, in two pieces."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])])
    return [environ["REQUEST_METHOD"].encode(), environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]


def told(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with what of a body it would be told."""
    start_response("200 OK", [])
    return [repr((environ.get(REFUSED), environ.get("CONTENT_LENGTH"))).encode()]


def ask(
    wsgi: Any,
    method: str = "GET",
    path: bytes = b"/",
    headers: Headers | None = None,
    body: Messages | None = None,
    *,
    version: str = "1.1",
) -> Messages:
    """What is sent to a client that sends this, and then nothing more."""
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
        ("POST", [HOST, (b"content-type", b"a/b"), (b"transfer-encoding", b"chunked")], [part(b"text")], b"POSTtext"),
        ("POST", [HOST, (b"content-length", b"0")], [part(b"")], b"POST"),
    ],
)
def test_it_keeps_to_wsgi(method: str, headers: Headers, body: Messages, expected: bytes) -> None:
    start, rest = ask(validator(echo), method, b"/caf%C3%A9/%2F", headers, body)
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert (b"X-Path", b"/caf\xc3\xa9//") in start["headers"]
    assert rest == {"type": "http.response.body", "body": expected}


def test_an_application_may_write_and_change_its_mind() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("503 Service Unavailable", [], (None, None, None))(b"1")
        yield b"2"

    start, rest = ask(application)
    assert (start["status"], rest["body"]) == (503, b"12")


def test_an_error_is_the_servers_to_answer_and_the_chunks_are_closed() -> None:
    class Chunks:
        closed = False

        def __iter__(self) -> Iterable[bytes]:
            raise LookupError

        def close(self) -> None:
            self.closed = True

    chunks = Chunks()
    with pytest.raises(LookupError):
        ask(lambda *_: chunks)
    assert chunks.closed


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ([HOST], [], (None, None)),
        ([], [], (400, None)),
        ([HOST, HOST], [], (400, None)),
        ([HOST, (b"content-length", b"9")], [part(b"short")], (400, "9")),
        ([HOST, (b"content-length", b"9")], [part(b"short", more=True)], (408, "9")),
        ([HOST, (b"transfer-encoding", b"chunked")], [part(b"short", more=True)], (408, None)),
        ([HOST, (b"content-length", b"%d" % LONG)], [], (None, str(LONG))),
    ],
)
def test_what_is_refused_is_told_to_the_application(
    monkeypatch: pytest.MonkeyPatch, headers: Headers, body: Messages, expected: tuple[int | None, str | None]
) -> None:
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)
    start, rest = ask(told, "POST", headers=headers, body=body)
    assert rest["body"] == repr(expected).encode()
    assert ((b"connection", b"close") in start["headers"]) == (expected[0] == 408 or expected[1] == str(LONG))


def test_an_old_client_needs_no_host() -> None:
    assert ask(told, headers=[], version="1.0")[1]["body"] == b"(None, None)"
    assert ask(told, headers=[HOST, HOST], version="1.0")[1]["body"] == b"(400, None)"


def test_a_header_does_not_pass_for_another() -> None:
    headers = [HOST, (b"content_length", b"nine"), (b"x_request_id", b"a"), (b"x-request-id", b"b")]

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        assert environ["HTTP_X_REQUEST_ID"] == "b"
        return told(environ, start_response)

    assert ask(application, headers=headers)[1]["body"] == b"(None, None)"


def test_of_a_body_that_is_too_large_only_the_size_is_kept() -> None:
    read: list[bytes] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        read.append(environ["wsgi.input"].read())
        return told(environ, start_response)

    parts = [part(b"x" * 60_000, more=True)] * 5 + [part(b"")]
    start, rest = ask(application, "POST", headers=[HOST, (b"transfer-encoding", b"chunked")], body=parts)
    assert rest["body"] == b"(None, '300000')"
    assert [len(each) for each in read] == [MAX_BODY_BYTES + 1]
    assert (b"connection", b"close") not in start["headers"]


def test_nothing_is_run_for_a_client_that_is_gone() -> None:
    headers = [HOST, (b"content-length", b"9")]
    assert ask(None, "POST", headers=headers, body=[part(b"short", more=True), GONE]) == []
