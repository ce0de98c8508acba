"""HTTP/1.1 over connections that are kept alive: what botocore's own HTTP session does, in fewer steps.

Owns the sockets of a DynamoDB client. Knows nothing of DynamoDB, of signatures or of retries: it fails with the
exceptions that botocore's session fails with, and whoever called decides whether to try again.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
import weakref
from collections import defaultdict, deque
from contextlib import suppress
from functools import cached_property, lru_cache
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import create_urllib3_context, get_cert_path

from lib.ddb.http1 import Answer, read_answer
from lib.ddb.response import Response

_CHUNK_BYTES = 65_536
_SHORTEST_WAIT_SECONDS = 0.001  # a timeout of zero would mean not to wait at all


class Origin(NamedTuple):
    """Where a URL leads. `authority` is the Host header, `target` what the request line asks for."""

    host: str
    port: int
    tls: bool
    authority: str
    target: str


class Transport:
    """Takes the place of botocore's `URLLib3Session` for an endpoint without a proxy; safe to share between threads.

    At most `pool_size` idle connections to an endpoint are kept, the one used last being lent first. `verify` is the
    file of the certificates to trust, True for botocore's own. A whole answer must be there `read_timeout` seconds
    after its request was begun to be sent; botocore's session allows as much for each of its parts.
    """

    def __init__(self, *, connect_timeout: float, read_timeout: float, pool_size: int, verify: str | bool) -> None:
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._verify = verify
        self._process = os.getpid()
        self._idle: dict[Origin, deque[socket.socket]] = defaultdict(deque)
        self._pool_size = pool_size
        weakref.finalize(self, _close_all, self._idle)

    def close(self) -> None:
        """Close the idle connections. One that is in use goes back to the pool, as with botocore's session."""
        _close_all(self._idle)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Send a request once and receive the whole answer."""
        url = request.url
        try:
            origin = origin_of(url)
            connection = self._take(origin) or self._open(origin, url)
            try:
                answer = self._exchange(connection, _message(request, origin))
            except BaseException:
                connection.close()
                raise
        except BotoCoreError:
            raise
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=url, error=error) from error
        except (OSError, HTTPException) as error:
            raise ConnectionClosedError(endpoint_url=url, request=request, error=error) from error
        except Exception as error:
            raise HTTPClientError(error=error) from error
        if answer.reusable and len(self._idle[origin]) < self._pool_size:
            self._idle[origin].append(connection)
        else:
            connection.close()
        return Response(url, answer.status, answer.headers, answer.body)

    def _take(self, origin: Origin) -> socket.socket | None:
        if self._process != os.getpid():  # what the parent has open is its own
            self._process = os.getpid()
            _close_all(self._idle)
        while connection := _last_of(self._idle[origin]):
            if not _has_ended(connection):
                return connection
            connection.close()
        return None

    def _open(self, origin: Origin, url: str) -> socket.socket:
        try:
            connection = socket.create_connection((origin.host, origin.port), self._connect_timeout)
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=url, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=url, error=error) from error
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if origin.tls:
                connection = self._tls.wrap_socket(connection, server_hostname=origin.host.rstrip("."))
        except BaseException:
            connection.close()
            raise
        return connection

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """botocore's own rules, but that the certificates are read once, and OpenSSL compares the host's name."""
        context: ssl.SSLContext = create_urllib3_context()
        try:
            context.load_verify_locations(get_cert_path(self._verify))
        except OSError as error:
            raise ssl.SSLError(f"the certificates to trust: {error}") from error
        context.check_hostname = True
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _exchange(self, connection: socket.socket, message: bytes) -> Answer:
        deadline = time.monotonic() + self._read_timeout

        def receive() -> bytes:
            connection.settimeout(max(deadline - time.monotonic(), _SHORTEST_WAIT_SECONDS))
            return connection.recv(_CHUNK_BYTES)

        connection.settimeout(self._read_timeout)
        with suppress(BrokenPipeError, ConnectionResetError):  # the server may have answered before it hung up
            connection.sendall(message)
        return read_answer(receive(), receive)


@lru_cache(maxsize=16)
def origin_of(url: str) -> Origin:
    """Where a URL leads; the authority is without userinfo and without the scheme's own port, as it is signed."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host, usual = parts.hostname or "", 443 if tls else 80
    port = parts.port or usual
    name = f"[{host}]" if ":" in host else host
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Origin(host, port, tls, name if port == usual else f"{name}:{port}", target)


def _message(request: AWSPreparedRequest, origin: Origin) -> bytes:
    lines = [
        f"{request.method} {origin.target} HTTP/1.1\r\nHost: {origin.authority}\r\nAccept-Encoding: identity",
        *(
            f"{name}: {value.decode('latin-1') if isinstance(value, bytes) else value}"
            for name, value in request.headers.items()
        ),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (request.body or b"")


def _has_ended(connection: socket.socket) -> bool:
    """Whether an idle connection was closed by the other end; what else it may have to say is no answer either."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _close_all(idle: dict[Origin, deque[socket.socket]]) -> None:
    for connections in list(idle.values()):
        while connection := _last_of(connections):
            connection.close()


def _last_of(connections: deque[socket.socket]) -> socket.socket | None:
    try:
        return connections.pop()
    except IndexError:  # asked for beforehand, another thread might take it in between
        return None
