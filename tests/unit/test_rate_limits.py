"""The counts of limits in the memory of a process, and the clients that they belong to."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from limits import parse
from limits.strategies import MovingWindowRateLimiter

from lib import rate_limits
from lib.rate_limits import ProcessStorage, RateLimiter, network_of, parse_windows

FIVE = parse("5 per 10 seconds")


class Clock:
    now = 1_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limits, "time", clock)
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
    monkeypatch.setattr(rate_limits, "_KEYS", 3)
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


def test_windows_of_a_setting_begin_with_the_shortest() -> None:
    windows = parse_windows("60 per minute; 20 per 10 seconds")
    assert [(window.amount, window.get_expiry()) for window in windows] == [(20, 10), (60, 60)]
    assert parse_windows("off") == []


def test_state_is_that_of_the_fullest_window(clock: Clock) -> None:
    limiter, windows = RateLimiter(""), parse_windows("5 per minute; 3 per 10 seconds")
    for remaining in (2, 1, 0):
        assert limiter.admit(windows, "anna")
        assert limiter.state(windows, "anna") == (3, remaining, 10)
    assert not limiter.admit(windows, "anna")
    clock.now += 10
    assert [limiter.admit(windows, "anna") for _ in range(3)] == [True, True, False]
    assert limiter.state(windows, "anna") == (5, 0, 50)
