"""The cache that several processes share, behind a circuit breaker: the application works without it.

Loads Momento only if it is configured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lib.cache.base import Cache, CacheUnavailable
from lib.circuit_breaker import CircuitBreaker, CircuitOpen
from lib.config import CacheSettings

PAUSE_SECONDS = 5  # after a failure; each try may delay a request by a timeout
LONG_PAUSE_SECONDS = 300  # after a permanent failure, which somebody has to fix
SCRIPT_SECONDS = 5  # for a call: a script has more time than a request

T = TypeVar("T")


class OptionalCache(Cache[str, str]):
    """A cache that may fail. Then `get` returns None, `put` and `forget` do nothing, and no caller waits.

    Its circuit breaker opens after one failure. `last_failure` stays after a recovery.
    """

    def __init__(
        self, cache: Cache[str, str], *, quiet: bool = False, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self.last_failure: CacheUnavailable | None = None
        self._cache = cache
        self._breaker = CircuitBreaker(
            "cache",
            lambda error: isinstance(error, CacheUnavailable),
            failures=1,
            seconds=0,
            pause=PAUSE_SECONDS,
            quiet=quiet,
            timer=timer,
        )

    def get(self, key: str) -> str | None:
        return self._call(lambda: self._cache.get(key))

    def put(self, key: str, value: str) -> None:
        self._call(lambda: self._cache.put(key, value))

    def forget(self, key: str) -> None:
        self._call(lambda: self._cache.forget(key))

    def _call(self, operation: Callable[[], T]) -> T | None:
        try:
            with self._breaker.call():
                return self._run(operation)
        except (CacheUnavailable, CircuitOpen):
            return None

    def _run(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except CacheUnavailable as error:
            self.last_failure = error
            self._breaker.pause = LONG_PAUSE_SECONDS if error.permanent else PAUSE_SECONDS
            raise


def shared_cache(settings: CacheSettings, *, for_script: bool = False) -> OptionalCache | None:
    """Momento, or None without a key. The first call connects. A script prints lib.users.cache.stale_data_warnings."""
    if not settings.momento_key:
        return None
    from lib.cache.momento import SECONDS, Momento

    return OptionalCache(Momento(settings, seconds=SCRIPT_SECONDS if for_script else SECONDS), quiet=for_script)
