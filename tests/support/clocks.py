"""Time in tests: a clock that only the test moves, a limit, and a wait for a condition."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

PATIENCE_SECONDS = 30

T = TypeVar("T")


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


def eventually(
    look: Callable[[], T], *, or_ended: subprocess.Popen[bytes] | None = None, seconds: float = PATIENCE_SECONDS
) -> T:
    """The first true result of `look`, or its last one when the time or the process is at an end."""
    deadline = time.monotonic() + seconds
    while not (result := look()) and time.monotonic() < deadline and (or_ended is None or or_ended.poll() is None):
        time.sleep(0.01)
    return result or look()
