"""A pool of HTTP/1.1 connections to one endpoint of AWS, by the standard library's client. It knows no service of AWS.

It sends a request once and leaves retries to the caller. It uses no proxy.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from lib.aws.errors import NoResponse
from lib.config import SettingsError

CONNECT_SECONDS = 0.5
MAX_RESPONSE_BYTES = 16 * 1024 * 1024  # the most that DynamoDB sends; a larger response would fill the memory


class Connections:
    """The connections of a process to one URL; safe to share between threads, and after a fork."""

    def __init__(self, url: str, *, pool_size: int, ca_bundle: str) -> None:
        """`ca_bundle` is a file of certificates to trust.

        Raises SettingsError if a proxy is set or the file is unreadable.
        """
        self._idle: list[_Connection] = []
        parts = urlsplit(url)
        if parts.scheme in getproxies() and not proxy_bypass(parts.netloc):
            name = f"{parts.scheme}_proxy".upper()
            message = f"{name} is set, but the API calls AWS without a proxy: add {parts.hostname} to NO_PROXY"
            raise SettingsError([message])
        self.host, self.path = parts.netloc, parts.path or "/"
        self._name = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            self._tls = _tls_context(ca_bundle) if parts.scheme == "https" else None
        except OSError as error:
            raise SettingsError([f"the CA bundle {ca_bundle} cannot be read: {error.strerror or error}"]) from error
        self._pool_size = pool_size
        self._process = os.getpid()

    def get(self, *, seconds: float) -> tuple[int, dict[str, str], bytes]:
        """Send a GET; the rest is as for `post`."""
        return self._send("GET", {}, None, seconds)

    def post(self, headers: dict[str, str], body: bytes, *, seconds: float) -> tuple[int, dict[str, str], bytes]:
        """Send a request; return the response's status, headers (names in lower case) and body.

        Raises NoResponse if the whole response does not arrive within `seconds`, or exceeds MAX_RESPONSE_BYTES.
        """
        return self._send("POST", headers, body, seconds)

    def _send(
        self, method: str, headers: dict[str, str], body: bytes | None, seconds: float
    ) -> tuple[int, dict[str, str], bytes]:
        end = time.monotonic() + seconds
        connection = None
        try:
            connection = self._take() or self._open(end)
            connection.sock.end, connection.sock.bytes_left = end, MAX_RESPONSE_BYTES
            connection.request(method, self.path, body, {"Host": self.host} | headers)
            response = connection.getresponse()
            if (response.length or 0) > MAX_RESPONSE_BYTES:  # read() would allocate all of it
                raise ValueError
            content = response.read()
        except (OSError, HTTPException, ValueError) as error:
            if connection:
                connection.close()
            self.close()  # the idle connections have probably failed too
            raise NoResponse(type(error).__name__) from error
        if response.will_close or response.status < 200 or len(self._idle) >= self._pool_size:
            connection.close()
        else:
            self._idle.append(connection)
        return response.status, {name.lower(): value for name, value in response.headers.items()}, content

    def close(self) -> None:
        """Close the idle connections."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    __del__ = close

    def _take(self) -> _Connection | None:
        """The idle connection that was used last, unless the server closed it or sent unexpected data."""
        if self._process != os.getpid():  # the parent process still uses the inherited connections
            self.close()
            self._process = os.getpid()
        with suppress(IndexError):
            while connection := self._idle.pop():
                readable = select.poll()
                readable.register(connection.sock, select.POLLIN)
                if not (readable.poll(0) or connection.sock.pending()):
                    return connection
                connection.close()
        return None

    def _open(self, end: float) -> _Connection:
        timeout = min(CONNECT_SECONDS, max(0.001, end - time.monotonic()))
        connection = _Connection(self._name, self._port, timeout=timeout)
        connection.connect()
        plain = _TimedSocket(fileno=connection.sock.detach())
        plain.settimeout(max(0.001, end - time.monotonic()))  # for the handshake
        name = self._name.rstrip(".")
        connection.sock = self._tls.wrap_socket(plain, server_hostname=name) if self._tls else plain
        return connection


@cache
def _tls_context(ca_bundle: str) -> ssl.SSLContext:
    """The context that all clients of a process share: it takes 1.2 MiB."""
    context = ssl.create_default_context(cafile=ca_bundle)
    context.sslsocket_class = _TimedTlsSocket
    return context


class _Response(HTTPResponse):
    """A response that parses a usual head in one step, because the library's parser takes a third of a call's time."""

    def begin(self) -> None:
        head, end, _ = self.fp.peek().partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length, status = fields.get("content-length", ""), first[9:12]
        is_usual = end and first.startswith("HTTP/1.1 ") and status[:1] in ("2", "4", "5") and status != "204"
        is_plain = len(fields) == len(lines) and not any(line[:1].isspace() for line in lines)
        if not (is_usual and is_plain and length.isdecimal() and "transfer-encoding" not in fields):
            return super().begin()
        self.fp.read(len(head) + len(end))
        self.version, self.status, self.length = 11, int(status), int(length)
        self.chunked, self.will_close = False, "close" in fields.get("connection", "").lower()
        self.headers = self.msg = fields  # type: ignore[assignment]
        return None


class _Connection(HTTPConnection):
    """A connection that sends head and body of a request together, on a timed socket."""

    response_class = _Response

    sock: Any
    _unsent = b""

    def send(self, data: Any) -> None:
        self._unsent += data

    def getresponse(self) -> HTTPResponse:
        data, self._unsent = self._unsent, b""
        self.sock.sendall(data)
        return super().getresponse()


class _Timed:
    """A socket with one deadline for a request and its response: a plain timeout restarts at every read.

    The response also has a limited size.
    """

    end = 0.0
    bytes_left = 0

    def sendall(self, *arguments: Any) -> None:
        self._set_timeout()
        super().sendall(*arguments)  # type: ignore[misc]

    def recv_into(self, *arguments: Any) -> Any:
        self._set_timeout()
        size = super().recv_into(*arguments)  # type: ignore[misc]
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise OSError
        return size

    def _set_timeout(self) -> None:
        if (seconds := self.end - time.monotonic()) <= 0:
            raise TimeoutError
        self.settimeout(seconds)  # type: ignore[attr-defined]


class _TimedSocket(_Timed, socket.socket):
    def pending(self) -> int:
        return 0


class _TimedTlsSocket(_Timed, ssl.SSLSocket):
    pass
