"""What a process remembers: bounded caches that threads can share."""

from __future__ import annotations

from threading import Lock
from typing import Generic, TypeVar

from cachetools import Cache

K = TypeVar("K")
V = TypeVar("V")


class Memory(Generic[K, V]):
    """A cachetools cache, which decides what is forgotten and when, behind a lock: even its reads change its order."""

    def __init__(self, cache: Cache[K, V]) -> None:
        self._cache = cache
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """What is remembered, or None."""
        with self._lock:
            return self._cache.get(key)

    def put(self, key: K, value: V) -> None:
        """Remember a value in place of an earlier one."""
        with self._lock:
            self._cache[key] = value

    def forget(self, key: K) -> None:
        """Remember nothing of this key."""
        with self._lock:
            self._cache.pop(key, None)
