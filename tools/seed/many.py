"""One conversation of very many messages, for whoever wants to see how long ones behave. Again it adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from uuid import UUID, uuid5

from lib.ddb.table import Table
from lib.users.directory import User, UserDirectory
from tools.seed.bulk import BulkLoader, NewConversation, NewMessage
from tools.seed.conversation import read_lines, seeded_user

MANY_HANDLES = ("bayko", "londo")
"""Two of db/seed.sql; those in db/conversation.json have one conversation already."""

_CONVERSATIONS = UUID("0d1c4b0e-2f7c-4a53-9f0f-8a4f2c5a7d11")
_LAST_AT = datetime(2025, 12, 1, 12, tzinfo=UTC)
_SPAN = timedelta(days=365)


def many_uuid(count: int) -> str:
    """The uuid of the conversation that has so many messages at first."""
    return str(uuid5(_CONVERSATIONS, str(count)))


def seed_many(
    table: Table, users: UserDirectory, count: int, *, each: Callable[[int], object] = lambda done: None
) -> int:
    """Add the conversation of `count` messages, if it is not there; how many messages were written.

    `each` is told how many are done. A run that was interrupted is continued by one with the same count. Raises
    SeedRefused, ConversationRefused, StoreUnavailable, WriteConflict, DatabaseUnavailable.
    """
    first, second = (seeded_user(users, handle) for handle in MANY_HANDLES)
    group_uuid = many_uuid(count)
    conversation = NewConversation(group_uuid, (first, second), _messages(group_uuid, first, second, count))
    return BulkLoader(table).load([conversation], each=each)


def _messages(group_uuid: str, first: User, second: User, count: int) -> Iterator[NewMessage]:
    """The lines of db/conversation.json over and over within a year, each with its number, also in its uuid."""
    lines, apart = read_lines(), _SPAN / count
    senders = cycle([first if line.handle == lines[0].handle else second for line in lines])
    texts = cycle([line.text for line in lines])
    for number, sender, text in zip(range(1, count + 1), senders, texts, strict=False):
        yield NewMessage(
            uuid=f"{group_uuid[:24]}{number:012x}",
            at=_LAST_AT - (count - number) * apart,
            sender=sender,
            text=f"{number}: {text}",
        )
