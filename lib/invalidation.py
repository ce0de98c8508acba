"""How a script that changes users tells the cache that processes share: at once, or it says that it could not."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from lib.cache import Cache, CacheUnavailable
from lib.config import CacheSettings
from lib.known_users import REMEMBERED_SECONDS
from lib.shared_cache import is_configured

SCRIPT_SECONDS = 5  # for a call: a script has more time than a request


class Invalidation(Cache[str, Any]):
    """What is shared, to be told what to forget; nothing is found in it and nothing kept.

    `failure` is why it could not be told, once that is so. Use it as a context.
    """

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._cache: Cache[str, str] | None = None
        self.failure: CacheUnavailable | None = None

    def get(self, key: str) -> None:
        return None

    def put(self, key: str, value: Any) -> None:
        pass

    def forget(self, key: str) -> None:
        if self.failure or not is_configured(self._settings):
            return
        from lib.momento import Momento

        try:
            self._cache = self._cache or Momento(self._settings, seconds=SCRIPT_SECONDS)
            self._cache.forget(key)
        except CacheUnavailable as error:
            self.failure = error

    def report(self) -> list[str]:
        """What remains to be said, as sentences."""
        kept = self._settings.momento_ttl_seconds + REMEMBERED_SECONDS
        wrong = f"What processes share could not be told: some go by the old data for up to {kept} seconds"
        return [f"{wrong}. {self.failure}"] if self.failure else []

    def __enter__(self) -> Invalidation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._cache:
            self._cache.close()
