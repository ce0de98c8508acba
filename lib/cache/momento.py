"""Momento: a cache of text that processes share. Momento's own SDK calls it over gRPC.

This module loads gRPC, 31 MB, so lib/cache/shared.py imports it only if Momento is configured. It translates Momento's
errors into CacheUnavailable. No error quotes the key, and the SDK's own warnings are off.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from functools import cached_property
from urllib.parse import urlsplit

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else gRPC writes to stderr when a server leaves

from momento import CacheClient, CredentialProvider
from momento.config import Configuration
from momento.config.transport.transport_strategy import StaticGrpcConfiguration, StaticTransportStrategy
from momento.errors import MomentoErrorCode, SdkException
from momento.responses import CacheGet, CreateCache
from momento.responses.mixins import ErrorResponseMixin
from momento.responses.response import Response
from momento.retry import FixedCountRetryStrategy

from lib.cache.base import Cache, CacheUnavailable
from lib.config import CacheSettings

SECONDS = 0.05  # for a call, including a new connection
FORGOTTEN_SECONDS = 10  # longer than the longest read of Postgres (lib/postgres/database.py)
_EMPTY = ""

_PERMANENT = {
    MomentoErrorCode.AUTHENTICATION_ERROR,
    MomentoErrorCode.BAD_REQUEST_ERROR,
    MomentoErrorCode.INVALID_ARGUMENT_ERROR,
    MomentoErrorCode.NOT_FOUND_ERROR,  # bin/cache/create creates the cache
    MomentoErrorCode.PERMISSION_ERROR,
}


class Momento(Cache[str, str]):
    """The configured cache. The first call, which comes after a fork, creates the client that all threads share.

    `forget` writes an empty text for some seconds, and `put` writes only if the key has no value. So a reader cannot
    cache a row that it read before the row changed:

        reader   get: none   SELECT: old                                      put old: refused
        writer                             UPDATE, commit   forget (10 s)
    """

    def __init__(self, settings: CacheSettings, *, seconds: float = SECONDS) -> None:
        logging.getLogger("momentosdk").setLevel(logging.CRITICAL)
        self._settings = settings
        self._name = settings.momento_cache_name
        self._seconds = seconds

    def get(self, key: str) -> str | None:
        response = _checked(self._client.get(self._name, key))
        if not isinstance(response, CacheGet.Hit):
            return None
        return response.value_bytes.decode(errors="replace") or None

    def put(self, key: str, value: str) -> None:
        _checked(self._client.set_if_not_exists(self._name, key, value))

    def forget(self, key: str) -> None:
        _checked(self._client.set(self._name, key, _EMPTY, timedelta(seconds=FORGOTTEN_SECONDS)))

    def create(self) -> bool:
        """Create the cache in the key's account; False if it exists."""
        return isinstance(_checked(self._client.create_cache(self._name)), CreateCache.Success)

    def close(self) -> None:
        """Close the connection; the next call makes another."""
        if client := self.__dict__.pop("_client", None):
            client.__exit__(None, None, None)

    @cached_property
    def _client(self) -> CacheClient:
        transport = StaticTransportStrategy(StaticGrpcConfiguration(timedelta(seconds=self._seconds)))
        return CacheClient(
            Configuration(transport, FixedCountRetryStrategy(max_attempts=0)),
            credentials(self._settings),
            timedelta(seconds=self._settings.momento_ttl_seconds),
        )


def credentials(settings: CacheSettings) -> CredentialProvider:
    """The settings' key and its endpoint. Raises CacheUnavailable, permanent."""
    if not (key := settings.momento_key):
        raise CacheUnavailable("key_missing", "MOMENTO_API_KEY is not set: processes share no cache", permanent=True)
    url = urlsplit(settings.momento_endpoint)
    host = url.hostname or ""
    try:
        if url.scheme == "http":
            return CredentialProvider(key, host, host, host, url.port or 80)
        if url.port not in (None, 443):  # the SDK uses TLS on 443 alone; elsewhere it would send the key in clear text
            raise ValueError
        if host:
            return CredentialProvider.from_api_key_v2(key, host)
        return CredentialProvider.from_disposable_token(key)  # the SDK's way for keys that hold their endpoint
    except (SdkException, ValueError, KeyError, TypeError):
        message = "Momento's API key contains no endpoint. Is it complete, or does it need MOMENTO_ENDPOINT (no port)?"
        raise CacheUnavailable("key_unusable", message, permanent=True) from None  # the cause quotes the key


def _checked(response: Response) -> Response:
    if isinstance(response, ErrorResponseMixin):
        code = response.error_code
        raise CacheUnavailable(code.name.lower(), f"Momento: {response.message}", permanent=code in _PERMANENT)
    return response
