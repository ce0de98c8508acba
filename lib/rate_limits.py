"""Limits of requests: the package limits counts in moving windows, in this process or in a store that processes share.

This module knows neither HTTP nor users.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from threading import Lock
from typing import Any, NamedTuple, NoReturn, TypeVar

from cachetools import LRUCache
from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import MovingWindowSupport, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from lib.circuit_breaker import CircuitBreaker, CircuitOpen

T = TypeVar("T")

Windows = Sequence[RateLimitItem]
"""The windows of one limit, the shortest first."""

_STORE_SECONDS = 0.15  # for the shared store to respond
# Limits of users and addresses. The counts of those that did not call for the longest time are forgotten.
_KEYS = 10_000


class State(NamedTuple):
    """What is left of a limit: its requests, those left, and the seconds until one more is left."""

    limit: int
    remaining: int
    reset: int


class RateLimiter:
    """Counts requests in the shared store. Without one, or while it does not respond, each process counts by itself."""

    def __init__(self, storage_url: str) -> None:
        self._own = MovingWindowRateLimiter(ProcessStorage())
        self._shared = MovingWindowRateLimiter(_shared_storage(storage_url)) if storage_url else None
        self._breaker = CircuitBreaker(
            "rate_limit_store", lambda error: isinstance(error, StorageError), failures=1, seconds=0
        )

    def admit(self, windows: Windows, *key: str) -> bool:
        """Count a request if every window has room for it. A request that a longer window refuses fills the shorter."""
        return self._call(lambda limiter: all(limiter.hit(window, *key) for window in windows))

    def state(self, windows: Windows, *key: str) -> State:
        """What is left in the window with the fewest requests left."""

        def read(limiter: MovingWindowRateLimiter) -> State:
            states = []
            for window in windows:
                reset_time, remaining = limiter.get_window_stats(window, *key)
                states.append(State(window.amount, remaining, max(1, math.ceil(reset_time - time.time()))))
            return min(states, key=lambda state: (state.remaining, -state.reset))

        return self._call(read)

    def _call(self, operation: Callable[[MovingWindowRateLimiter], T]) -> T:
        if self._shared:
            with suppress(StorageError, CircuitOpen), self._breaker.call():
                return operation(self._shared)
        return operation(self._own)


def parse_windows(rate: str) -> Windows:
    """The windows of a setting such as `60 per minute; 20 per 10 seconds`; none for `off`."""
    return [] if rate == "off" else sorted(parse_many(rate), key=RateLimitItem.get_expiry)


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


def _shared_storage(url: str) -> Any:
    """The storage of RATE_LIMIT_STORAGE_URL. One client serves Redis and Valkey: they have one protocol."""
    seconds = {"socket_timeout": _STORE_SECONDS, "socket_connect_timeout": _STORE_SECONDS}
    uri = "redis" + url.removeprefix("redis").removeprefix("valkey")
    return storage_from_string(uri, wrap_exceptions=True, retry=None, **seconds)  # type: ignore[arg-type]


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
