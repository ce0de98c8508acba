"""The deadline of the current work: all its tries, pauses and timeouts share one limit."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count

_SHORTEST_TRY_SECONDS = 0.2  # a shorter try often ends without a clear response
_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.2

_end: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Limit the work inside the `with` block to `seconds`; an earlier outer deadline still applies."""
    token = _end.set(min(_end.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(token)


def seconds_left() -> float:
    """Seconds until the deadline: infinite without one, negative after it."""
    return _end.get() - time.monotonic()


def tries(seconds: float) -> Iterator[int]:
    """Yield the number of each try, 0, 1, 2, …, until `seconds` or the deadline are over; always at least 0."""
    end = time.monotonic() + min(seconds, seconds_left())
    for attempt in count():
        yield attempt
        if time.monotonic() + _SHORTEST_TRY_SECONDS > end:
            return


def pause(attempt: int) -> None:
    """Wait before the next try: exponential backoff with full jitter."""
    longest = min(_FIRST_PAUSE_SECONDS * 2**attempt, _LONGEST_PAUSE_SECONDS, max(0.0, seconds_left()))
    time.sleep(random.uniform(0, longest))  # noqa: S311
