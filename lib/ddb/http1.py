"""One answer of HTTP/1.1, read from a connection: quickly as DynamoDB sends them, else by the standard library.

Knows no socket: it is given what was received already, and how to receive more.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from http.client import HTTPResponse
from typing import Any, NamedTuple

_END_OF_HEAD = b"\r\n\r\n"


class Answer(NamedTuple):
    """`reusable` says whether another request can follow on the connection. The headers' names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool


def read_answer(received: bytes, receive: Callable[[], bytes]) -> Answer:
    """Read to the end of the answer that begins with `received`; `receive` gives no bytes at the connection's end.

    Raises ConnectionError when it ends early, HTTPException for what is not HTTP, ValueError for a length that is none.
    """
    while (end := received.find(_END_OF_HEAD)) < 0:
        if not (more := receive()):
            raise ConnectionError("the connection was closed before the end of the headers")
        received += more
    if not (usual := _read_head(received[:end])):
        return _read_unusual(_Received(received, receive))
    status, headers, length = usual
    parts = [received[end + len(_END_OF_HEAD) :]]
    missing = length - len(parts[0])
    while missing > 0:
        if not (more := receive()):
            raise ConnectionError(f"the connection was closed {missing} bytes before the end of the answer")
        parts.append(more)
        missing -= len(more)
    reusable = missing == 0 and "close" not in headers.get("connection", "").lower()
    return Answer(status, headers, b"".join(parts)[:length], reusable)


def _read_head(head: bytes) -> tuple[int, dict[str, str], int] | None:
    """Status, headers and the body's length, of an answer as DynamoDB gives it; None if anything is unusual."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, status = first[:12].partition(" ")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name[:1].isspace():
            return None
        headers[name.lower()] = value.strip()
    length = headers.get("content-length", "")
    if (
        version != "HTTP/1.1"
        or not (status.isdecimal() and "200" <= status < "600")
        or status in ("204", "304")
        or not (length.isascii() and length.isdecimal())
        or "transfer-encoding" in headers
        or len(headers) < len(lines)
    ):
        return None
    return int(status), headers, int(length)


def _read_unusual(received: _Received) -> Answer:
    """An answer in chunks, without a length, of another version, and so on: by the standard library.

    It reads ahead, and what follows the answer would be lost: the connection is not for use again.
    """
    answer = HTTPResponse(received, method="POST")  # type: ignore[arg-type]
    answer.begin()
    if len(set(answer.headers.get_all("content-length", []))) > 1:
        raise ValueError("the answer has two lengths")
    body = answer.read()
    lines = {name.lower(): ", ".join(answer.headers.get_all(name, [])) for name in answer.headers}
    headers = {name: value.replace("\r\n", "") for name, value in lines.items()}  # a header may be folded
    return Answer(answer.status, headers, body, reusable=False)


class _Received(io.RawIOBase):
    """What has been received, and then what is received further, for the standard library to read."""

    def __init__(self, received: bytes, receive: Callable[[], bytes]) -> None:
        self._received = received
        self._receive = receive

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        received = self._received or self._receive()
        count = min(len(buffer), len(received))
        buffer[:count] = received[:count]
        self._received = received[count:]
        return count
