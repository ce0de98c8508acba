"""Caches: one interface, and a cache in the process's memory.

Code that changes the cached data calls `forget` afterwards. Knows neither users nor Momento (lib/cache/momento.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from threading import Lock
from typing import Generic, TypeVar

import cachetools

K = TypeVar("K")
V = TypeVar("V")


class CacheUnavailable(Exception):
    """A shared cache failed. `reason` is for logs, the message for people; neither contains a key.

    `permanent`: every try fails until somebody fixes the configuration.
    """

    def __init__(self, reason: str, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.permanent = permanent


class Cache(ABC, Generic[K, V]):
    """Values by key; a value may disappear at any time. Safe to share between threads."""

    @abstractmethod
    def get(self, key: K) -> V | None:
        """The cached value, or None."""

    @abstractmethod
    def put(self, key: K, value: V) -> None:
        """Cache a value that the caller has just read."""

    @abstractmethod
    def forget(self, key: K) -> None:
        """Remove the value of this key, because it has just changed."""


class InMemoryCache(Cache[K, V]):
    """A cachetools cache behind a lock: even reads change its order."""

    def __init__(self, cache: cachetools.Cache[K, V]) -> None:
        self._cache = cache
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            return self._cache.get(key)

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The cached values of those keys that have one."""
        found = {}
        with self._lock:
            for key in keys:
                with suppress(KeyError):
                    found[key] = self._cache[key]
        return found

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self._cache[key] = value

    def forget(self, key: K) -> None:
        with self._lock:
            self._cache.pop(key, None)
