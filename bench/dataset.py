"""What the table holds during a measurement: conversations and inboxes of three sizes, a hot talk, many cool ones.

All names and times follow from the plan, so that a page's cursor is known without a walk. Signs nobody in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from uuid import UUID, uuid5

from lib.clock import to_timestamp
from lib.ddb.bulk import NewConversation, NewMessage
from lib.users import User

PAGE_ROWS = 20
ROLES = ("small", "medium", "large")
"""The three sizes by name, so that nothing has to know the numbers."""

_NAMESPACE = UUID("2b7f3f0a-6f0c-4e39-9d7d-0a4f3f3e8f10")
_LAST = datetime(2026, 1, 4, 19, 0, tzinfo=UTC)
_STEP = timedelta(seconds=1)
_TEXT = "Message {}: as long as one that people write in the evening."  # so that 20 rows and 21 are read for 8 KB


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything; `page` is the far page that is read, where the largest has as many."""

    conversations: tuple[int, int, int]
    inboxes: tuple[int, int, int]
    cool: int
    page: int


FULL = Sizes((100, 10_000, 1_000_000), (20, 1_000, 20_000), cool=1_000, page=1_000)
QUICK = Sizes((100, 1_000, 10_000), (20, 200, 2_000), cool=200, page=400)


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation of two, of `count` messages of which the last is of the time `ends`."""

    members: tuple[User, User]
    count: int
    ends: datetime = _LAST

    @property
    def group_uuid(self) -> str:
        return _uuid(" and ".join(member.uuid for member in self.members))

    def at(self, seq: int) -> datetime:
        """The time of its message of this number."""
        return self.ends - (self.count - seq) * _STEP

    def plan(self) -> NewConversation:
        """As the loader takes it."""
        return NewConversation(self.group_uuid, self.members, self._messages())

    def _messages(self) -> Iterator[NewMessage]:
        for seq in range(1, self.count + 1):
            name = _uuid(f"{self.group_uuid} {seq}")
            yield NewMessage(name, self.at(seq), self.members[seq % 2], _TEXT.format(seq))


@dataclass(frozen=True, slots=True)
class Inbox:
    """A user's inbox of `count` conversations, each of one message."""

    owner: User
    count: int

    def talks(self) -> Iterator[Talk]:
        for number in range(1, self.count + 1):
            yield Talk((self.owner, _person(f"{self.owner.handle}-{number}")), 1, self.at(number))

    def at(self, number: int) -> datetime:
        """The time of the row of this number, counted from the oldest."""
        return _LAST - (self.count - number) * _STEP


class Dataset:
    """Everything that is loaded."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.reader = _person("reader")
        self.talks = {
            role: Talk((self.reader, _person(f"{role}-talker")), count)
            for role, count in zip(ROLES, sizes.conversations, strict=True)
        }
        self.inboxes = {
            role: Inbox(_person(f"{role}-inbox"), count) for role, count in zip(ROLES, sizes.inboxes, strict=True)
        }
        self.hot = _pair("hot")
        self.loop = _pair("loop")  # the bare loop's own, or it would spoil what the API remembers
        self.cool = [_pair(f"cool-{number}") for number in range(sizes.cool)]

    def people(self) -> list[User]:
        """Who signs in."""
        talkers = chain.from_iterable(talk.members for talk in (self.hot, *self.cool))
        return [self.reader, *(inbox.owner for inbox in self.inboxes.values()), *talkers]

    def plan(self) -> Iterator[NewConversation]:
        """All of it, for the loader."""
        talks = chain(self.talks.values(), (self.hot, self.loop), self.cool)
        rows = chain.from_iterable(inbox.talks() for inbox in self.inboxes.values())
        return (talk.plan() for talk in chain(talks, rows))

    @property
    def messages(self) -> int:
        """How many messages that is."""
        return sum(self.sizes.conversations) + sum(self.sizes.inboxes) + (2 + self.sizes.cool) * _PAIR_MESSAGES


def row_above(count: int, page: int) -> int:
    """The number of the row right above a page, counted from the oldest: where its cursor stands."""
    return count - (min(page, last_page(count)) - 1) * PAGE_ROWS + 1


def last_page(count: int) -> int:
    """How many pages so many rows have."""
    return -(-count // PAGE_ROWS)


def sort_key(at: datetime) -> str:
    """A time as the table has it."""
    return to_timestamp(at)


_PAIR_MESSAGES = 25  # so that there is a full page to read


def _pair(name: str) -> Talk:
    return Talk((_person(f"{name}-one"), _person(f"{name}-two")), _PAIR_MESSAGES)


def _person(handle: str) -> User:
    return User(_uuid(handle), handle, handle.replace("-", " ").title())


def _uuid(name: str) -> str:
    return str(uuid5(_NAMESPACE, name))
