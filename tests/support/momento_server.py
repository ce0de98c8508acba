"""A server with Momento's wire protocol, on loopback in this process. It uses the stubs of Momento's SDK.

Tests move its time, `now`. It responds after `seconds`, with the gRPC status `fault` if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import grpc
from momento_wire_types import cacheclient_pb2, cacheclient_pb2_grpc, controlclient_pb2, controlclient_pb2_grpc

from tools.local_stack.processes import free_port

KEY = "an-api-key-of-these-tests"
THREADS = 16


@dataclass(frozen=True)
class Entry:
    """A value and the time at which it expires."""

    text: bytes
    until: float


class MomentoServer(cacheclient_pb2_grpc.ScsServicer, controlclient_pb2_grpc.ScsControlServicer):
    """Momento's side of the calls that this system makes; any other call is UNIMPLEMENTED.

    The account of KEY has the cache `cruddur`. `calls` are the names of the calls so far.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.caches: dict[str, dict[bytes, Entry]] = {"cruddur": {}}
        self.calls: list[str] = []
        self.fault: grpc.StatusCode | None = None
        self.seconds = 0.0
        self.port = free_port()
        self._stopping = Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self) -> Iterator[MomentoServer]:
        """Serve at `url` within the block."""
        self._stopping.clear()
        threads = ThreadPoolExecutor(THREADS)
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        cacheclient_pb2_grpc.add_ScsServicer_to_server(self, server)
        controlclient_pb2_grpc.add_ScsControlServicer_to_server(self, server)
        assert server.add_insecure_port(f"127.0.0.1:{self.port}") == self.port
        server.start()
        try:
            yield self
        finally:
            self._stopping.set()
            server.stop(None).wait()
            threads.shutdown()

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802 - names of the protocol
        entry = self._live(self._cache("Get", context), request.cache_key)
        if entry is None:
            return cacheclient_pb2._GetResponse(result=cacheclient_pb2.Miss)
        return cacheclient_pb2._GetResponse(result=cacheclient_pb2.Hit, cache_body=entry.text)

    def Set(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._store(self._cache("Set", context), request)
        return cacheclient_pb2._SetResponse(result=cacheclient_pb2.Ok)

    def SetIfNotExists(self, request: Any, context: Any) -> Any:  # noqa: N802
        response = cacheclient_pb2._SetIfNotExistsResponse
        cache = self._cache("SetIfNotExists", context)
        if self._live(cache, request.cache_key):
            return response(not_stored=response._NotStored())
        self._store(cache, request)
        return response(stored=response._Stored())

    def CreateCache(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._admit("CreateCache", context)
        if request.cache_name in self.caches:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "the cache exists")
        self.caches[request.cache_name] = {}
        return controlclient_pb2._CreateCacheResponse()

    def _cache(self, call: str, context: Any) -> dict[bytes, Entry]:
        """The cache that a call names."""
        self._admit(call, context)
        name = dict(context.invocation_metadata())["cache"]
        if name not in self.caches:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such cache")
        return self.caches[name]

    def _admit(self, call: str, context: Any) -> None:
        self.calls.append(call)
        self._stopping.wait(self.seconds)
        if self.fault:
            context.abort(self.fault, "the test's fault")
        if dict(context.invocation_metadata()).get("authorization") != KEY:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such key")

    def _live(self, cache: dict[bytes, Entry], key: bytes) -> Entry | None:
        entry = cache.get(key)
        return entry if entry and entry.until > self.now else None

    def _store(self, cache: dict[bytes, Entry], request: Any) -> None:
        cache[request.cache_key] = Entry(request.cache_body, self.now + request.ttl_milliseconds / 1000)


def run_momento() -> Iterator[MomentoServer]:
    """The fixture of a server."""
    with MomentoServer().serving() as server:
        yield server
