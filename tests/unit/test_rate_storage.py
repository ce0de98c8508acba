"""The counts of limits in the memory of a process, and the clients that they belong to."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from limits import parse
from limits.strategies import MovingWindowRateLimiter

from lib import rate_storage
from lib.rate_storage import ProcessStorage, network_of, storage_uri

FIVE = parse("5 per 10 seconds")


class Clock:
    now = 1_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_storage, "time", clock)
    return clock


def test_no_window_has_more_requests_than_the_limit(clock: Clock) -> None:
    limiter = MovingWindowRateLimiter(ProcessStorage())
    admitted: list[float] = []
    for tick in range(400):
        clock.now = 1_000 + tick / 10
        if limiter.hit(FIVE, "anna"):
            admitted.append(clock.now)
        assert limiter.hit(FIVE, f"other-{tick}")
    assert len(admitted) == 20
    assert all(later - earlier >= 10 for earlier, later in zip(admitted, admitted[5:], strict=False))


def test_refused_request_takes_no_place_and_the_stated_time_is_exact(clock: Clock) -> None:
    limiter = MovingWindowRateLimiter(ProcessStorage())
    for second in range(5):
        clock.now = 1_000.0 + second
        assert limiter.get_window_stats(FIVE, "anna").remaining == 5 - second
        assert limiter.hit(FIVE, "anna")
    assert not any(limiter.hit(FIVE, "anna") for _ in range(9))
    assert limiter.get_window_stats(FIVE, "anna") == (1_010, 0)
    clock.now = 1_009.99
    assert not limiter.hit(FIVE, "anna")
    clock.now = 1_010.0
    assert limiter.hit(FIVE, "anna")
    assert not limiter.hit(FIVE, "anna")


def test_memory_is_bounded_and_drops_the_least_recently_used_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_storage, "_KEYS", 3)
    limiter = MovingWindowRateLimiter(ProcessStorage())
    one, threads = parse("1 per day"), threading.active_count()
    for user in ("anna", "bert", "carl", "dora"):
        assert limiter.hit(one, user)
    assert limiter.hit(one, "anna")  # who is forgotten
    assert [limiter.hit(one, user) for user in ("carl", "dora")] == [False, False]
    assert threading.active_count() == threads


def test_threads_share_the_count() -> None:
    limiter = MovingWindowRateLimiter(ProcessStorage())
    rate = parse("100 per hour")
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: limiter.hit(rate, "anna"), range(1_000))) == 100


def test_reset_and_clear_free_every_place() -> None:
    storage = ProcessStorage()
    limiter = MovingWindowRateLimiter(storage)
    one = parse("1 per day")
    for free in (storage.reset, lambda: limiter.clear(one, "anna")):
        assert limiter.hit(one, "anna")
        assert not limiter.hit(one, "anna")
        free()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),  # of a server that listens on ::
        ("fe80::1%eth0", "fe80::/64"),
        ("192.0.2.7:4567", "192.0.2.7:4567"),
        ("unknown", "unknown"),
    ],
)
def test_ipv6_network_is_one_client(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("", "process://"),
        ("redis://h:1/2", "redis://h:1/2"),
        ("rediss://:p@h", "rediss://:p@h"),
        ("valkey://h", "redis://h"),
        ("valkeys://redis", "rediss://redis"),
    ],
)
def test_one_client_serves_redis_and_valkey(url: str, uri: str) -> None:
    assert storage_uri(url) == uri
