"""Jobs that run beside each other, never many of them, so that memory stays bounded. Knows no table."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Pipeline:
    """At most `window` jobs on the way; each returns how many messages it wrote, and `each` is told how many are done.

    A job begins after all jobs before it have begun, and those a window before it have ended. `done` counts what was
    there as well, if it is added.
    """

    def __init__(self, each: Callable[[int], object], *, threads: int, window: int) -> None:
        self.done = 0
        self.written = 0
        self._each = each
        self._window = window
        self._running: deque[Future[int]] = deque()
        self._threads = ThreadPoolExecutor(threads)

    def submit(self, job: Callable[[], int]) -> None:
        """Have a job done; waits for the oldest where there are too many, and raises what that raised."""
        if len(self._running) == self._window:
            self._settle()
        self._running.append(self._threads.submit(job))

    def running(self) -> Sequence[Future[int]]:
        """The jobs that may not have ended yet; a later one may wait for them."""
        return tuple(self._running)

    def drain(self) -> None:
        """Wait for all jobs."""
        while self._running:
            self._settle()

    def _settle(self) -> None:
        count = self._running.popleft().result()
        self.written += count
        self.done += count
        self._each(self.done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._threads.shutdown(cancel_futures=True)
