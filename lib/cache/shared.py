"""The cache that several processes share, behind a circuit breaker: the application works without it.

Loads Momento only if it is configured.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from lib.cache.base import Cache, CacheUnavailable
from lib.config import CacheSettings
from lib.logs import log

PAUSE_SECONDS = 5  # after a failure; each try may delay a request by a timeout
LONG_PAUSE_SECONDS = 300  # after a permanent failure, which somebody has to fix
SCRIPT_SECONDS = 5  # for a call: a script has more time than a request

T = TypeVar("T")


class CircuitBreaker(Cache[str, str]):
    """A cache that may fail. Then `get` returns None, `put` and `forget` do nothing, and no caller waits.

    After a pause, one caller tries the cache again, while the others continue without it. `last_failure` stays after a
    recovery. The breaker logs one warning for each outage, unless it is `quiet`.
    """

    def __init__(
        self, cache: Cache[str, str], *, quiet: bool = False, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self.last_failure: CacheUnavailable | None = None
        self._cache = cache
        self._quiet = quiet
        self._timer = timer
        self._lock = Lock()
        self._is_open = False
        self._next_try = 0.0

    def get(self, key: str) -> str | None:
        return self._call(lambda: self._cache.get(key))

    def put(self, key: str, value: str) -> None:
        self._call(lambda: self._cache.put(key, value))

    def forget(self, key: str) -> None:
        self._call(lambda: self._cache.forget(key))

    def _call(self, operation: Callable[[], T]) -> T | None:
        with self._lock:
            was_open = self._is_open
            if was_open and self._timer() < self._next_try:
                return None
            self._next_try = self._timer() + PAUSE_SECONDS  # until then, the others go without the cache
        try:
            result = operation()
        except CacheUnavailable as error:
            with self._lock:
                is_first, self._is_open, self.last_failure = not self._is_open, True, error
                self._next_try = self._timer() + (LONG_PAUSE_SECONDS if error.permanent else PAUSE_SECONDS)
            if is_first and not self._quiet:
                log("cache_unavailable", level=logging.WARNING, reason=error.reason)
            return None
        if was_open:
            self._is_open = False
            log("cache_back")
        return result


def shared_cache(settings: CacheSettings, *, for_script: bool = False) -> CircuitBreaker | None:
    """Momento, or None without a key. The first call connects. A script prints lib.users.cache.stale_data_warnings."""
    if not settings.momento_key:
        return None
    from lib.cache.momento import SECONDS, Momento

    return CircuitBreaker(Momento(settings, seconds=SCRIPT_SECONDS if for_script else SECONDS), quiet=for_script)
