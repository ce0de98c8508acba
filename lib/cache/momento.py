"""Momento: a cache of text that processes share, over gRPC by its own SDK.

Loading this module loads gRPC, 31 MB: lib/cache/shared.py does it where Momento is configured. Owns what the key in
the settings leads to, and the translation of Momento's errors: everything raises CacheUnavailable. No error quotes
the key; what the SDK logs itself, a warning for each failed call, is not heard.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from functools import cached_property
from urllib.parse import urlsplit

import jwt

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else gRPC writes to stderr when a server goes

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

SECONDS = 0.05  # for a call, the connection that it may have to make included
FORGOTTEN_SECONDS = 10  # longer than a read of Postgres can take (lib/postgres/database.py)
_NOTHING = ""

_LASTING = {
    MomentoErrorCode.AUTHENTICATION_ERROR,
    MomentoErrorCode.BAD_REQUEST_ERROR,
    MomentoErrorCode.INVALID_ARGUMENT_ERROR,
    MomentoErrorCode.NOT_FOUND_ERROR,  # the cache is not there: bin/cache/create
    MomentoErrorCode.PERMISSION_ERROR,
}


class Momento(Cache[str, str]):
    """The cache that the settings name. Threads share one; its client is made by the first call, and so after a fork.

    A key that was forgotten holds an empty text for some seconds, and a value is put only where nothing is. So who
    read a row before it changed cannot put back the old one after it was forgotten:

        reader   get: none   SELECT: old                                      put old: refused
        writer                             UPDATE, commit   forget (10 s)
    """

    def __init__(self, settings: CacheSettings, *, seconds: float = SECONDS) -> None:
        logging.getLogger("momentosdk").setLevel(logging.CRITICAL)
        self._settings = settings
        self._name = settings.momento_cache_name
        self._seconds = seconds

    def get(self, key: str) -> str | None:
        response = _answered(self._client.get(self._name, key))
        if not isinstance(response, CacheGet.Hit):
            return None
        return response.value_bytes.decode(errors="replace") or None

    def put(self, key: str, value: str) -> None:
        _answered(self._client.set_if_not_exists(self._name, key, value))

    def forget(self, key: str) -> None:
        _answered(self._client.set(self._name, key, _NOTHING, timedelta(seconds=FORGOTTEN_SECONDS)))

    def create(self) -> bool:
        """Create the cache in the account that the key is of; False if it was there."""
        return isinstance(_answered(self._client.create_cache(self._name)), CreateCache.Success)

    def close(self) -> None:
        """Close the connection; the next who asks makes another."""
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
    """The key of the settings, and where it is good. Raises CacheUnavailable, lasting."""
    if not (key := settings.momento_key):
        raise CacheUnavailable("key_missing", "MOMENTO_API_KEY is not set: processes share no cache", lasting=True)
    where = urlsplit(settings.momento_endpoint)
    host = where.hostname or ""
    try:
        if where.scheme == "http":
            return CredentialProvider(key, host, host, host, where.port or 80)
        if where.port not in (None, 443):  # the SDK takes TLS for 443 alone, and would send the key in clear
            raise ValueError
        if _is_global(key):
            return CredentialProvider.from_api_key_v2(key, host)
        return CredentialProvider.from_disposable_token(key)  # the SDK's way for keys that hold their endpoint
    except (SdkException, ValueError, KeyError, TypeError):
        message = "Momento's API key leads nowhere. Is it whole, and is MOMENTO_ENDPOINT set, without a port?"
        raise CacheUnavailable("key_unusable", message, lasting=True) from None  # what there was quotes the key


def _is_global(key: str) -> bool:
    """Whether a key is of the second version, which is good at any endpoint and so holds none."""
    try:
        return jwt.decode(key, options={"verify_signature": False}).get("t") == "g"
    except jwt.InvalidTokenError:
        return False


def _answered(response: Response) -> Response:
    if isinstance(response, ErrorResponseMixin):
        code = response.error_code
        raise CacheUnavailable(code.name.lower(), f"Momento: {response.message}", lasting=code in _LASTING)
    return response
