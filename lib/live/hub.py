"""Who is connected to this process, and the hints that wake their streams.

A hint says that something happened, with ids and numbers, never with a text. The table is the truth: a lost hint costs
time, never a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal, Protocol

STREAMS_PER_USER = 10

EventName = Literal["message_group", "read", "typing"]


@dataclass(frozen=True, slots=True)
class Hint:
    """An event for the streams of some users; `data` is what their clients get, except of `message_group`."""

    event: EventName
    user_uuids: tuple[str, ...]
    data: dict[str, Any] = field(default_factory=dict)


Deliver = Callable[[Hint | None], None]
"""Takes a hint in any thread. None says that hints may have been lost."""


class TooManyStreams(Exception):
    """The user has STREAMS_PER_USER streams in this process."""


class Relay(Protocol):
    """Carries hints to the other processes."""

    is_connected: bool
    """Whether hints of the other processes arrive."""

    def listen(self, deliver: Callable[[Hint], None], lost: Callable[[], None]) -> None:
        """Deliver the hints of other processes from now on; call `lost` when hints may be lost or were lost."""

    def send(self, hint: Hint) -> None:
        """Send a hint without waiting. It may be lost."""


class Hub:
    """The streams of one process, by user. Safe to share between threads."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._lock = Lock()
        self._streams: dict[str, list[Deliver]] = {}
        self._is_listening = False

    @property
    def is_connected(self) -> bool:
        """Whether hints of the other processes arrive. Without them, a stream reads more often."""
        return self._relay.is_connected

    def publish(self, hint: Hint) -> None:
        """Give a hint to the streams of its users, in all processes. Returns at once."""
        self._deliver(hint)
        self._relay.send(hint)

    @contextmanager
    def subscription(self, user_uuid: str, deliver: Deliver) -> Iterator[None]:
        """Call `deliver` for each hint for this user inside the `with` block. Raises TooManyStreams."""
        with self._lock:
            streams = self._streams.setdefault(user_uuid, [])
            if len(streams) >= STREAMS_PER_USER:
                raise TooManyStreams
            streams.append(deliver)
            is_first, self._is_listening = not self._is_listening, True
        if is_first:
            self._relay.listen(self._deliver, self._deliver_loss)
        try:
            yield
        finally:
            with self._lock:
                streams.remove(deliver)
                if not streams:
                    del self._streams[user_uuid]

    def _deliver(self, hint: Hint) -> None:
        with self._lock:
            streams = [deliver for uuid in hint.user_uuids for deliver in self._streams.get(uuid, ())]
        for deliver in streams:
            deliver(hint)

    def _deliver_loss(self) -> None:
        with self._lock:
            streams = [deliver for streams in self._streams.values() for deliver in streams]
        for deliver in streams:
            deliver(None)
