"""What may be remembered of something that is true elsewhere: one interface, and the memory of a process behind it.

Whoever changes what is true, forgets it here afterwards. Knows neither users nor Momento (lib/cache/momento.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import Lock
from typing import Generic, TypeVar

import cachetools

K = TypeVar("K")
V = TypeVar("V")


class CacheUnavailable(Exception):
    """A cache that others share did not answer. `reason` is for logs, the message for people; neither has a key.

    `lasting` says that asking again will not help before somebody has changed something.
    """

    def __init__(self, reason: str, message: str, *, lasting: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.lasting = lasting


class Cache(ABC, Generic[K, V]):
    """Values by their keys, each of which may be gone at any time. Safe to share between threads."""

    @abstractmethod
    def get(self, key: K) -> V | None:
        """What is remembered, or None."""

    @abstractmethod
    def put(self, key: K, value: V) -> None:
        """Remember what was just read."""

    @abstractmethod
    def forget(self, key: K) -> None:
        """Remember nothing of this key: it has just changed."""


class Memory(Cache[K, V]):
    """A cachetools cache, which decides what is forgotten and when, behind a lock: even its reads change its order."""

    def __init__(self, cache: cachetools.Cache[K, V]) -> None:
        self._cache = cache
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            return self._cache.get(key)

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self._cache[key] = value

    def forget(self, key: K) -> None:
        with self._lock:
            self._cache.pop(key, None)
