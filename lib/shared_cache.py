"""The cache that several processes share, as an application wants it: it may be away, and it is not trusted.

`shared_cache` is the API's door to it, `Invalidation` that of scripts. Knows no gRPC, and loads Momento only where it
is configured.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from itsdangerous import BadData, URLSafeSerializer

from lib.cache import Cache, CacheUnavailable
from lib.config import CacheSettings
from lib.known_users import REMEMBERED_SECONDS
from lib.logs import log

PAUSE_SECONDS = 5  # after an outage; each try may cost a request the time of a timeout
LONG_PAUSE_SECONDS = 300  # after a refusal, which somebody has to do something about
CALM_SECONDS = 60  # without a fault, until an outage counts as over: reads may work while writes do not
REPORT_SECONDS = 60
COUNTED = ("hits", "misses", "faults")  # in the log line `cache_used`
SCRIPT_SECONDS = 5  # for a call: a script has more time than a request

T = TypeVar("T")


def shared_cache(settings: CacheSettings, secret_key: str) -> Cache[str, Any] | None:
    """Momento, or None if no key is set. Opens no connection before it is asked something."""
    if not settings.momento_key:
        return None
    from lib.momento import Momento

    return Forgiving(Signed(Momento(settings), secret_key))


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

    def _serializer(self, key: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._secret_key, salt=f"cache {key}")


class Forgiving(Cache[str, Any]):
    """A cache that may be away. Then nothing is found and nothing kept, one warning is logged, and nobody waits.

    After a pause one request tries it again, while the others go on without; when it has answered for a minute, it is
    back. What it was used for is logged once a minute.
    """

    def __init__(self, cache: Cache[str, Any], *, timer: Callable[[], float] = time.monotonic) -> None:
        self._cache = cache
        self._timer = timer
        self._lock = Lock()
        self._away = False
        self._next_try = 0.0
        self._warned = False
        self._well_since = 0.0
        self._next_report = timer() + REPORT_SECONDS
        self._counts = dict.fromkeys(COUNTED, 0)

    def get(self, key: str) -> Any | None:
        found, value = self._ask(lambda: self._cache.get(key))
        if found:
            self._count("misses" if value is None else "hits")
        return value

    def put(self, key: str, value: Any) -> None:
        self._ask(lambda: self._cache.put(key, value))

    def forget(self, key: str) -> None:
        self._ask(lambda: self._cache.forget(key))

    def _ask(self, question: Callable[[], T]) -> tuple[bool, T | None]:
        """Whether there is an answer, and the answer."""
        with self._lock:
            trying = self._away
            if trying and self._timer() < self._next_try:
                return False, None
            self._next_try = self._timer() + PAUSE_SECONDS  # for the others, should it be away
        try:
            answer = question()
        except CacheUnavailable as error:
            self._failed(error)
            return False, None
        if self._warned:
            self._recover(trying)
        return True, answer

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
            if self._timer() < self._next_report:
                return
            counts, self._counts = self._counts, dict.fromkeys(COUNTED, 0)
            self._next_report = self._timer() + REPORT_SECONDS
        log("cache_used", hits=counts["hits"], misses=counts["misses"], faults=counts["faults"])


class Invalidation(Cache[str, Any]):
    """What processes share, for a script that changes users: told what to forget, at once; nothing is found or kept.

    `failure` is why it could not be told, once that is so; it is not asked again.
    """

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._cache: Cache[str, str] | None = None
        if settings.momento_key:
            from lib.momento import Momento

            self._cache = Momento(settings, seconds=SCRIPT_SECONDS)
        self.failure: CacheUnavailable | None = None

    def get(self, key: str) -> None:
        return None

    def put(self, key: str, value: Any) -> None:
        pass

    def forget(self, key: str) -> None:
        if self._cache and not self.failure:
            try:
                self._cache.forget(key)
            except CacheUnavailable as error:
                self.failure = error

    def report(self) -> list[str]:
        """What remains to be said, as sentences."""
        kept = self._settings.momento_ttl_seconds + REMEMBERED_SECONDS
        wrong = f"What processes share could not be told: some go by the old data for up to {kept} seconds"
        return [f"{wrong}. {self.failure}"] if self.failure else []
