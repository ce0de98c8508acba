"""One conversation of very many messages, for whoever wants to see how long ones behave. Again it adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from uuid import UUID, uuid5

from lib.ddb.bulk import BulkLoader, NewConversation, NewMessage
from lib.ddb.table import Table
from lib.users import User, UserDirectory
from services.seed import read_lines, seeded_user

MANY_HANDLES = ("bayko", "londo")
"""Two of db/seed.sql; those in db/conversation.json have one conversation already."""

_CONVERSATIONS = UUID("0d1c4b0e-2f7c-4a53-9f0f-8a4f2c5a7d11")
_LAST_AT = datetime(2025, 12, 1, 12, tzinfo=UTC)
_APART = timedelta(seconds=30)


def many_uuid(count: int) -> str:
    """The uuid of the conversation that has so many messages at first."""
    return str(uuid5(_CONVERSATIONS, str(count)))


def seed_many(
    table: Table, users: UserDirectory, count: int, *, each: Callable[[int], object] = lambda done: None
) -> int:
    """Add the conversation of `count` messages, if it is not there; how many messages were written.

    `each` is told how many are done. A run that was interrupted is continued by one with the same count. Raises
    SeedRefused, ConversationRefused, StoreUnavailable, Contended, DatabaseUnavailable.
    """
    first, second = (seeded_user(users, handle) for handle in MANY_HANDLES)
    group_uuid = many_uuid(count)
    conversation = NewConversation(group_uuid, (first, second), _messages(UUID(group_uuid), first, second, count))
    return BulkLoader(table).load([conversation], each=each)


def _messages(group: UUID, first: User, second: User, count: int) -> Iterator[NewMessage]:
    """The lines of db/conversation.json over and over, each with its number."""
    lines = read_lines()
    for number, line in zip(range(1, count + 1), cycle(lines), strict=False):
        yield NewMessage(
            uuid=str(uuid5(group, str(number))),
            at=_LAST_AT - (count - number) * _APART,
            sender=first if line.handle == lines[0].handle else second,
            text=f"{number}: {line.text}",
        )
