"""Time in tests: a clock that only the test moves, and a limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class FrozenTime:
    """Stands in for `time.time` and `time.monotonic`; `ahead` is how many seconds a test has moved both."""

    def __init__(self) -> None:
        self.ahead = 0.0
        # Whole seconds, so that sums and differences are exact.
        self._epoch, self._monotonic = int(time.time()), int(time.monotonic())

    def time(self) -> float:
        return self._epoch + self.ahead

    def monotonic(self) -> float:
        return self._monotonic + self.ahead


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds
