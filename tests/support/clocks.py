"""Time that stands still in tests until a test moves it ahead."""

from __future__ import annotations

import time


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
