"""A circuit breaker: it refuses calls of a dependency that does not respond, so that they hold no thread."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

from lib.logs import log

FAILURES = 5  # more than the tries of one call
SILENT_SECONDS = 1.0  # longer than a restart of connections
PAUSE_SECONDS = 1.0
STALL_SECONDS = 0.5  # much longer than a usual call

IsFailure = Callable[[Exception], bool]


class CircuitOpen(Exception):
    """The dependency does not respond. The breaker refused the call, so nothing was sent."""


class CircuitBreaker:
    """Admits or refuses the calls of one dependency. Safe to share between threads.

    The breaker opens after `failures` calls in a row without a response, if no other call had a response for `seconds`.
    So neither one slow call nor a lost connection opens it. Every `pause` seconds the open breaker admits one call. If
    this call gets a response, the breaker closes. The breaker logs both changes unless it is `quiet`.

    The breaker admits at most `limit` calls at a time. Further calls wait. If all `limit` calls hang for STALL_SECONDS,
    it refuses the others.
    """

    def __init__(
        self,
        name: str,
        is_failure: IsFailure,
        *,
        limit: float = math.inf,
        failures: int = FAILURES,
        seconds: float = SILENT_SECONDS,
        pause: float = PAUSE_SECONDS,
        quiet: bool = False,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_failure` says whether an exception of a call means that no response came."""
        self.pause = pause
        self._name = name
        self._is_failure = is_failure
        self._limit = limit
        self._failures = failures
        self._seconds = seconds
        self._quiet = quiet
        self._timer = timer
        self._condition = Condition()
        self._calls = 0  # that the breaker has admitted and that have not ended
        self._changed_at = 0.0  # when `_calls` last changed
        self._responded_at = -math.inf
        self._failed_in_a_row = 0
        self._silent_since = 0.0  # when the first of them began, or a response if it came later
        self._is_open = False
        self._is_probing = False
        self._next_probe_at = 0.0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Make a call inside the `with` block. Raises CircuitOpen instead of a call."""
        is_probe, began_at = self._admit()
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error if self._is_failure(error) else None
            raise
        finally:
            self._end(is_probe, began_at, failure)

    def _admit(self) -> tuple[bool, float]:
        """Return whether the call is a probe, and the time."""
        with self._condition:
            while self._calls >= self._limit and not self._is_open:
                seconds = self._changed_at + STALL_SECONDS - self._timer()
                if seconds <= 0:
                    raise CircuitOpen(f"{self._limit} calls of {self._name} hang")
                self._condition.wait(seconds)
            now = self._timer()
            if self._is_open:
                if self._is_probing or self._calls >= self._limit or now < self._next_probe_at:
                    raise CircuitOpen(f"{self._name} does not respond")
                self._is_probing = True
            self._calls += 1
            self._changed_at = now
            return self._is_probing, now

    def _end(self, is_probe: bool, began_at: float, failure: Exception | None) -> None:
        with self._condition:
            now = self._timer()
            self._calls -= 1
            self._changed_at = now
            if is_probe:
                self._is_probing = False
            was_open = self._is_open
            if is_probe or not was_open:  # a call from before the outage says nothing about its end
                self._is_open = self._count(began_at, now, failure) or (was_open and failure is not None)
                self._next_probe_at = now + self.pause
            is_open = self._is_open
            self._condition.notify_all()
        if is_open != was_open and not self._quiet:
            if failure:
                log(f"{self._name}_unavailable", level=logging.WARNING, reason=_reason(failure))
            else:
                log(f"{self._name}_back")

    def _count(self, began_at: float, now: float, failure: Exception | None) -> bool:
        """Count a call; return whether the dependency seems to be down."""
        if failure is None:
            self._failed_in_a_row, self._responded_at = 0, now
            return False
        if not self._failed_in_a_row:
            self._silent_since = max(began_at, self._responded_at)
        self._failed_in_a_row += 1
        return self._failed_in_a_row >= self._failures and now - self._silent_since >= self._seconds


def _reason(failure: Exception) -> str:
    """A failure for logs: its own word for it, or the type of its cause."""
    return getattr(failure, "reason", None) or type(failure.__cause__ or failure).__name__
