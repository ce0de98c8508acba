"""The cache that several processes share, as an application wants it: it may be away, and it is not trusted.

`shared_cache` is the door. Knows neither users nor gRPC: Momento is loaded only where it is configured.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from itsdangerous import BadData, URLSafeSerializer

from lib.cache import Cache, CacheUnavailable
from lib.config import CacheSettings
from lib.logs import log

PAUSE_SECONDS = 5  # after an outage; each try may cost a request the time of a timeout
LONG_PAUSE_SECONDS = 300  # after a refusal, which somebody has to do something about
CALM_SECONDS = 60  # without a fault, until an outage counts as over: reads may work while writes do not
REPORT_SECONDS = 60

T = TypeVar("T")
Connect = Callable[[], Cache[str, str]]


def shared_cache(settings: CacheSettings, secret_key: str) -> Cache[str, Any] | None:
    """Momento, or None if no key is set. Opens no connection before it is asked something."""
    if not is_configured(settings):
        return None
    from lib.momento import Momento

    return Signed(Forgiving(lambda: Momento(settings)), secret_key)


def is_configured(settings: CacheSettings) -> bool:
    """Whether there is a key of Momento's."""
    return bool(settings.momento_api_key or settings.momento_auth_token)


class Signed(Cache[str, Any]):
    """JSON values in a cache of text, of which nothing is believed but what the same secret has put at the same key.

    So whoever can write to the cache still cannot make anybody another user, and what another deployment or another
    program has put there is as good as nothing.
    """

    def __init__(self, cache: Cache[str, str], secret_key: str) -> None:
        self._cache = cache
        self._secret_key = secret_key

    def get(self, key: str) -> Any | None:
        text = self._cache.get(key)
        try:
            return None if text is None else self._serializer(key).loads(text)
        except BadData:
            return None

    def put(self, key: str, value: Any) -> None:
        self._cache.put(key, str(self._serializer(key).dumps(value)))

    def forget(self, key: str) -> None:
        self._cache.forget(key)

    def close(self) -> None:
        self._cache.close()

    def _serializer(self, key: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._secret_key, salt=f"cache {key}")


class Forgiving(Cache[str, str]):
    """A cache that may be away. Then nothing is found and nothing kept, one warning is logged, and nobody waits.

    After a pause one request tries it again, while the others go on without; when it has answered for a minute, it is
    back. `connect` is called by the first who asks: a client must not be made before a process is forked. What it was
    used for is logged once a minute.
    """

    def __init__(self, connect: Connect, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._timer = timer
        self._lock = Lock()
        self._cache: Cache[str, str] | None = None
        self._away = False
        self._next_try = 0.0
        self._warned = False
        self._well_since = 0.0
        self._next_report = timer() + REPORT_SECONDS
        self._counts: Counter[str] = Counter()

    def get(self, key: str) -> str | None:
        found, value = self._ask(lambda cache: cache.get(key))
        if found:
            self._count("misses" if value is None else "hits")
        return value

    def put(self, key: str, value: str) -> None:
        self._ask(lambda cache: cache.put(key, value))

    def forget(self, key: str) -> None:
        self._ask(lambda cache: cache.forget(key))

    def close(self) -> None:
        """Close the client and log what it was used for; the next who asks makes another."""
        atexit.unregister(self.close)
        with self._lock:
            cache, self._cache = self._cache, None
            self._report()
        if cache:
            cache.close()

    def _ask(self, question: Callable[[Cache[str, str]], T]) -> tuple[bool, T | None]:
        """Whether there is an answer, and the answer."""
        with self._lock:
            trying = self._away
            if trying and self._timer() < self._next_try:
                return False, None
            self._next_try = self._timer() + PAUSE_SECONDS  # for the others, should it be away
        try:
            answer = question(self._client())
        except CacheUnavailable as error:
            self._failed(error)
            return False, None
        if self._warned:
            self._recover(trying)
        return True, answer

    def _client(self) -> Cache[str, str]:
        with self._lock:
            if self._cache is None:
                self._cache = self._connect()
                atexit.register(self.close)
            return self._cache

    def _failed(self, error: CacheUnavailable) -> None:
        self._count("faults")
        with self._lock:
            first, self._warned, self._away = not self._warned, True, True
            self._next_try = self._timer() + (LONG_PAUSE_SECONDS if error.lasting else PAUSE_SECONDS)
        if first:
            log("cache_unavailable", level=logging.WARNING, reason=error.reason)

    def _recover(self, tried: bool) -> None:
        with self._lock:
            if tried:
                self._away, self._well_since = False, self._timer()
            over = self._warned and not self._away and self._timer() >= self._well_since + CALM_SECONDS
            if over:
                self._warned = False
        if over:
            log("cache_back")

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1
            if self._timer() >= self._next_report:
                self._report()

    def _report(self) -> None:
        if self._counts:
            hits, misses, faults = (self._counts[what] for what in ("hits", "misses", "faults"))
            log("cache_used", hits=hits, misses=misses, faults=faults)
        self._counts.clear()
        self._next_report = self._timer() + REPORT_SECONDS
