"""The counts of the limits: in the memory of this process, or in a store that processes share; and whose they are."""

from __future__ import annotations

import time
from collections import deque
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from threading import Lock
from typing import NoReturn

from cachetools import LRUCache
from limits.storage import MovingWindowSupport, Storage

PROCESS_STORAGE = "process://"
_KEYS = 10_000  # limits of users and addresses; above it, the storage drops the least recently used one


class ProcessStorage(Storage, MovingWindowSupport):
    """The times of the requests that a moving window counts, in bounded memory. Safe to share between threads.

    The package's own MemoryStorage keeps every key for ever, and starts a thread up to a hundred times a second.
    """

    STORAGE_SCHEME = ["process"]  # noqa: RUF012 - as the package declares it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._times: LRUCache[str, deque[float]] = LRUCache(_KEYS)
        self._lock = Lock()

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` requests if the last `expiry` seconds have room for them."""
        with self._lock:
            times = self._window(key, expiry)
            if len(times) + amount > limit:
                return False
            times.extend([time.time()] * amount)
            self._times[key] = times
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """The time of the first request of the window, and the number of requests in it."""
        with self._lock:
            times = self._window(key, expiry)
            return (times[0], len(times)) if times else (time.time(), 0)

    def check(self) -> bool:
        return True

    def reset(self) -> None:
        with self._lock:
            self._times.clear()

    def clear(self, key: str) -> None:
        with self._lock:
            self._times.pop(key, None)

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> NoReturn:
        raise NotImplementedError  # of other strategies, as the next two

    def get(self, key: str) -> NoReturn:
        raise NotImplementedError

    def get_expiry(self, key: str) -> NoReturn:
        raise NotImplementedError

    def _window(self, key: str, expiry: int) -> deque[float]:
        times = self._times.get(key) or deque()
        start = time.time() - expiry
        while times and times[0] <= start:
            times.popleft()
        return times


def storage_uri(url: str) -> str:
    """The storage for a setting RATE_LIMIT_STORAGE_URL. One client serves Redis and Valkey: they have one protocol."""
    return "redis" + url.removeprefix("redis").removeprefix("valkey") if url else PROCESS_STORAGE


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """The network of one client: its IPv4 address, or the /64 of its IPv6 address. Any other text is returned as is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Network((parsed, 64), strict=False))
