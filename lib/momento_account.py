"""What the scripts ask Momento about: its caches and their limits, and a new API key for the one that there is.

By the wire protocol's own stubs, because the SDK for Python tells no limits and refreshes no key. Loads gRPC.
Everything raises CacheUnavailable, without the key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc  # type: ignore[import-untyped]
from momento_wire_types import auth_pb2, auth_pb2_grpc, controlclient_pb2, controlclient_pb2_grpc

from lib.cache import CacheUnavailable
from lib.config import CacheSettings
from lib.momento import credentials

_SECONDS = 5


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """A cache of the account, and what Momento lets it have; None where Momento does not say."""

    name: str
    requests_per_second: int | None
    kilobytes_per_second: int | None
    item_kilobytes: int | None
    ttl_seconds: int | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key in place of another; both texts are secrets, and Momento tells them once."""

    api_key: str = field(repr=False)
    refresh_token: str = field(repr=False)
    valid_until: datetime | None


class Account:
    """The account that the settings' key is of."""

    def __init__(self, settings: CacheSettings) -> None:
        given = credentials(settings)
        target = f"{given.control_endpoint}:{given.port}"
        self._key = given.auth_token
        self._emulated = given.port != 443
        tls = grpc.ssl_channel_credentials
        self._channel = grpc.insecure_channel(target) if self._emulated else grpc.secure_channel(target, tls())
        self._control = controlclient_pb2_grpc.ScsControlStub(self._channel)  # type: ignore[no-untyped-call]
        self._auth = auth_pb2_grpc.AuthStub(self._channel)  # type: ignore[no-untyped-call]

    def create_cache(self, name: str) -> bool:
        """Create a cache; False if it was there."""
        try:
            self._call(self._control.CreateCache, controlclient_pb2._CreateCacheRequest(cache_name=name))
        except CacheUnavailable as error:
            if error.reason == "already_exists":
                return False
            raise
        return True

    def caches(self) -> Iterator[CacheLimits]:
        """Every cache of the account that the key may see."""
        request = controlclient_pb2._ListCachesRequest()
        while True:
            page = self._call(self._control.ListCaches, request)
            for each in page.cache:
                limits = each.cache_limits
                yield CacheLimits(
                    each.cache_name,
                    limits.max_traffic_rate or None,
                    limits.max_throughput_kbps or None,
                    limits.max_item_size_kb or None,
                    limits.max_ttl_seconds or None,
                )
            if not page.next_token:
                return
            request = controlclient_pb2._ListCachesRequest(next_token=page.next_token)

    def refresh_key(self, refresh_token: str) -> NewKey:
        """A new key with the same permissions; the old one is good until its own time is over."""
        request = auth_pb2._RefreshApiTokenRequest(api_key=self._key, refresh_token=refresh_token)
        made = self._call(self._auth.RefreshApiToken, request)
        # As the console gives keys out: with the endpoint that they are good at.
        wrapped = json.dumps({"endpoint": made.endpoint, "api_key": made.api_key}).encode()
        return NewKey(
            api_key=made.api_key if self._emulated else base64.b64encode(wrapped).decode(),
            refresh_token=made.refresh_token,
            valid_until=datetime.fromtimestamp(made.valid_until, UTC) if made.valid_until else None,
        )

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=_SECONDS, metadata=[("authorization", self._key)])
        except grpc.RpcError as error:
            status = error.code().name.lower()
            raise CacheUnavailable(status, f"Momento: {status}: {error.details()}", lasting=False) from None
