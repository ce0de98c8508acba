"""Turns: who may write to a conversation now, when many want to at once.

Inside a process, whoever asked first is next. Between processes the table decides, for whoever knows its state first:
that is the one that wrote last, and it would win again and again. So a process whose writers queue up rests now and
then. Knows neither conversations nor the table.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from lib.ddb.errors import Contended

# In shares of what turns and tries take, because that is a millisecond here and twenty there.
_IN_A_ROW = 16
_REST = 1 / 4  # of the row: as long as four turns, so that a rival learns the state and writes within it
_PAUSE = 1 / 2  # of a try, at most: a rival that paused for longer would miss the rest
_LONGEST_REST_SECONDS = 0.2


@dataclass(slots=True)
class _Queue:
    """Who wants the same turn, in their order. The first has it; each other waits for the lock that is its place."""

    places: deque[Lock] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)
    served: int = 0


class Turns:
    """The turns of a process, by name; safe to share between threads."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._queues: dict[str, _Queue] = {}  # those in which anybody is

    @contextmanager
    def of(self, name: str, *, seconds: float) -> Iterator[Iterator[None]]:
        """Have the turn while the context lasts, and get the tries that there is time for: one, and more for so long.

        The time begins with waiting for the turn. Raises Contended when it ends before the turn came.
        """
        deadline = time.monotonic() + seconds
        place = Lock()
        with self._guard:
            queue = self._queues.setdefault(name, _Queue())
            if queue.places:
                place.acquire()
            queue.places.append(place)
        try:
            if not place.acquire(timeout=seconds):
                raise Contended
            _rest(queue)
            yield _tries(deadline)
        finally:
            self._leave(name, queue, place)

    def _leave(self, name: str, queue: _Queue, place: Lock) -> None:
        """Pass the turn on; also one that came in the moment in which waiting for it had ended."""
        with self._guard:
            had_turn = queue.places[0] is place
            queue.places.remove(place)
            if not queue.places:
                del self._queues[name]
            elif had_turn:
                queue.places[0].release()


def _rest(queue: _Queue) -> None:
    """Leave the table to other processes for a while, after a row in which somebody was waiting all the time."""
    if queue.served == _IN_A_ROW:
        time.sleep(min((time.monotonic() - queue.since) * _REST, _LONGEST_REST_SECONDS))
        queue.served, queue.since = 0, time.monotonic()
    queue.served += 1


def _tries(deadline: float) -> Iterator[None]:
    """A random pause after each try, so that two who were refused together do not meet again."""
    while True:
        began = time.monotonic()
        yield
        time.sleep((time.monotonic() - began) * random.uniform(0, _PAUSE))  # noqa: S311
        if time.monotonic() > deadline:
            return
