"""What the table holds during a run: conversations and inboxes of three sizes, a busy conversation, active ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import UUID, uuid5

from lib.users.directory import User
from tools.seed.bulk import NewConversation, NewMessage

SIZES = ("small", "medium", "large")

_NAMESPACE = UUID("2b7f3f0a-6f0c-4e39-9d7d-0a4f3f3e8f10")
_LAST = datetime(2026, 1, 4, 19, 0, tzinfo=UTC)
_TEXT = "Message {}: as long as one that people write in the evening."  # a page of 21 rows costs two read units
_SENDERS = 100  # of the active conversations: each has one in twenty of them, as people do
_ACTIVE_MESSAGES = 20  # a page


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many messages and rows; `page` is the far page that is read of the largest lists."""

    conversations: tuple[int, int, int]
    inboxes: tuple[int, int, int]
    active: int
    page: int


FULL = Sizes((100, 10_000, 1_000_000), (20, 1_000, 20_000), active=2_000, page=1_000)
QUICK = Sizes((100, 1_000, 10_000), (20, 200, 2_000), active=2_000, page=100)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Two members and `count` messages, of which the last is `age` seconds older than the newest of all."""

    members: tuple[User, User]
    count: int
    age: int = 0

    @property
    def uuid(self) -> str:
        return _uuid(" and ".join(member.uuid for member in self.members))

    def messages(self) -> Iterator[NewMessage]:
        for seq in range(1, self.count + 1):
            created_at = _LAST - timedelta(seconds=self.age + self.count - seq)
            yield NewMessage(_uuid(f"{self.uuid} {seq}"), created_at, self.members[seq % 2], _TEXT.format(seq))


class Dataset:
    """Everything that is loaded. The inboxes' owners are `user("small")` and so on."""

    def __init__(self, sizes: Sizes) -> None:
        self.page = sizes.page
        self.reader = user("reader")
        self.conversations = [Conversation((self.reader, user(f"writer-{each}")), each) for each in sizes.conversations]
        self.inboxes = dict(zip(SIZES, sizes.inboxes, strict=True))
        self.busy = Conversation((user("busy-one"), user("busy-two")), _ACTIVE_MESSAGES)
        self.active = [
            Conversation((user(f"sender-{number % _SENDERS}"), user(f"partner-{number}")), _ACTIVE_MESSAGES)
            for number in range(sizes.active)
        ]
        self.count = sum((*sizes.conversations, *sizes.inboxes, (sizes.active + 1) * _ACTIVE_MESSAGES))

    def users(self) -> set[User]:
        """Everybody who signs in, and whom the senders write to."""
        return {
            self.reader,
            *map(user, SIZES),
            *chain.from_iterable(each.members for each in (self.busy, *self.active)),
        }

    def plan(self) -> Iterator[NewConversation]:
        """All of it, for the loader."""
        rows = (
            Conversation((user(size), user(f"{size}-{number}")), 1, age=number)
            for size, count in self.inboxes.items()
            for number in range(count)
        )
        for each in chain(self.conversations, [self.busy], self.active, rows):
            yield NewConversation(each.uuid, each.members, each.messages())


def user(handle: str) -> User:
    """The user with this handle."""
    return User(_uuid(handle), handle, handle.title())


def _uuid(name: str) -> str:
    return str(uuid5(_NAMESPACE, name))
