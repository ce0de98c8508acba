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

from lib.cache.base import Cache, CacheUnavailable
from lib.config import CacheSettings
from lib.logs import log
from lib.users.cache import REMEMBERED_SECONDS

PAUSE_SECONDS = 5  # after an outage; each try may cost a request the time of a timeout
LONG_PAUSE_SECONDS = 300  # after a refusal, which somebody has to do something about
SCRIPT_SECONDS = 5  # for a call: a script has more time than a request

T = TypeVar("T")


def shared_cache(settings: CacheSettings, secret_key: str) -> Cache[str, Any] | None:
    """Momento, or None if no key is set. Opens no connection before it is asked something."""
    if not settings.momento_key:
        return None
    from lib.cache.momento import Momento

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

    After a pause one request tries it again, while the others go on without; when it answers, it is back.
    """

    def __init__(self, cache: Cache[str, Any], *, timer: Callable[[], float] = time.monotonic) -> None:
        self._cache = cache
        self._timer = timer
        self._lock = Lock()
        self._away = False
        self._next_try = 0.0

    def get(self, key: str) -> Any | None:
        return self._ask(lambda: self._cache.get(key))

    def put(self, key: str, value: Any) -> None:
        self._ask(lambda: self._cache.put(key, value))

    def forget(self, key: str) -> None:
        self._ask(lambda: self._cache.forget(key))

    def _ask(self, question: Callable[[], T]) -> T | None:
        with self._lock:
            trying = self._away
            if trying and self._timer() < self._next_try:
                return None
            self._next_try = self._timer() + PAUSE_SECONDS  # for the others, should it be away
        try:
            answer = question()
        except CacheUnavailable as error:
            self._failed(error)
            return None
        if trying:
            self._away = False
            log("cache_back")
        return answer

    def _failed(self, error: CacheUnavailable) -> None:
        with self._lock:
            first, self._away = not self._away, True
            self._next_try = self._timer() + (LONG_PAUSE_SECONDS if error.lasting else PAUSE_SECONDS)
        if first:
            log("cache_unavailable", level=logging.WARNING, reason=error.reason)


class Invalidation(Cache[str, Any]):
    """What processes share, for a script that changes users: told what to forget, at once; nothing is found or kept.

    `failure` is why it could not be told, once that is so; it is not asked again.
    """

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._cache: Cache[str, str] | None = None
        if settings.momento_key:
            from lib.cache.momento import Momento

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
