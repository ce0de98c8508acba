"""The event streams of this process by user, and the hints that wake them.

A hint says that something happened, with ids and numbers, never with a text. The table is the truth: a lost hint costs
time, never a message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal, Protocol

from cachetools import TTLCache

TYPING_SECONDS = 3

EventName = Literal["message_group", "read", "typing", "user"]

FIELDS: dict[EventName, set[str]] = {
    "message_group": set(),
    "read": {"uuid", "user_uuid", "read_seq"},
    "typing": {"uuid", "user_uuid"},
    "user": {"cognito_user_id"},
}
"""The fields that the data of each event has; a newer version may add others."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Says that something happened to some users.

    The clients of these users get the data of `read` and `typing`. Postgres sends `user` when a row of `users` changes.
    """

    event: EventName
    user_uuids: tuple[str, ...]
    data: dict[str, Any] = field(default_factory=dict)


Deliver = Callable[[Hint | None], None]
"""Takes a hint in any thread. None says that hints may have been lost."""


class TooManyStreams(Exception):
    """The user has as many streams in this process as one user may have."""


class Relay(Protocol):
    """Carries hints to the other processes."""

    is_connected: bool | None
    """Whether hints of the other processes arrive."""

    def listen(self, deliver: Callable[[Hint], object], lost: Callable[[], None]) -> None:
        """Deliver the hints of other processes from now on, in a thread; call `lost` when hints may be or were lost."""

    def send(self, hint: Hint) -> None:
        """Send a hint without waiting. It may be lost."""


class Hub:
    """The streams of one process, by user. Safe to share between threads.

    It calls `on_user_change` with the hint of a changed user before their streams get it.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        streams_per_user: int,
        on_user_change: Callable[[Hint], None] = lambda _: None,
    ) -> None:
        self._relay = relay
        self._streams_per_user = streams_per_user
        self._on_user_change = on_user_change
        self._lock = Lock()
        self._streams: dict[str, list[Deliver]] = {}
        self._is_listening = False
        self._recent_typing: TTLCache[tuple[str, str], bool] = TTLCache(4_096, TYPING_SECONDS)

    @property
    def is_connected(self) -> bool | None:
        """Whether hints of the other processes arrive. Without them, a stream reads more often."""
        return self._relay.is_connected

    def publish(self, hint: Hint) -> None:
        """Give a hint to the streams of its users, in all processes. Returns at once.

        Drops a typing hint if one of the same user and conversation came within TYPING_SECONDS, from any process.
        """
        if self._deliver(hint):
            self._relay.send(hint)

    def subscribe(self, user_uuid: str, deliver: Deliver) -> None:
        """Call `deliver` for each hint for this user from now on. Raises TooManyStreams."""
        with self._lock:
            streams = self._streams.get(user_uuid, [])
            if len(streams) >= self._streams_per_user:
                raise TooManyStreams
            if not self._is_listening:
                self._relay.listen(self._deliver, self._deliver_loss)
                self._is_listening = True
            self._streams[user_uuid] = [*streams, deliver]

    def unsubscribe(self, user_uuid: str, deliver: Deliver) -> None:
        """Undo `subscribe`; a second call does nothing."""
        with self._lock:
            streams = [other for other in self._streams.pop(user_uuid, []) if other != deliver]
            if streams:
                self._streams[user_uuid] = streams

    def _deliver(self, hint: Hint) -> bool:
        """Give a hint to the streams of this process; return False for one typing hint too many."""
        if hint.event == "user":
            self._on_user_change(hint)
        with self._lock:
            if hint.event == "typing":
                key = (hint.data["uuid"], hint.data["user_uuid"])
                if key in self._recent_typing:
                    return False
                self._recent_typing[key] = True
            streams = [deliver for uuid in hint.user_uuids for deliver in self._streams.get(uuid, ())]
        for deliver in streams:
            deliver(hint)
        return True

    def _deliver_loss(self) -> None:
        with self._lock:
            streams = [deliver for streams in self._streams.values() for deliver in streams]
        for deliver in streams:
            deliver(None)
