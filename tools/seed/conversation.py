"""Fills a new system with some users and a conversation between two of them. A second run adds nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from uuid import UUID, uuid5

from lib.clock import from_timestamp
from lib.config import ROOT
from lib.ddb.table import Table
from lib.postgres.database import Database
from lib.users.accounts import User
from lib.users.directory import UserDirectory
from tools.seed.bulk import BulkLoader, ConversationRefused, NewConversation, NewMessage

CONVERSATION_UUID = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
HANDLES = ("Augustsz", "bayko")
"""The two users of db/conversation.json."""

MANY_HANDLES = ("bayko", "londo")
"""The two users of a very long conversation: a pair has only one."""

_LONG_CONVERSATIONS = UUID("0d1c4b0e-2f7c-4a53-9f0f-8a4f2c5a7d11")
_LAST_AT = datetime(2025, 12, 1, 12, tzinfo=UTC)
_SPAN = timedelta(days=365)


def seed_users(database: Database) -> int:
    """Add the missing users of `db/seed.sql`; return how many were added. Raises DatabaseUnavailable."""
    return database.script("db/seed.sql")


def seed_conversation(
    table: Table,
    users: UserDirectory,
    count: int | None = None,
    *,
    on_progress: Callable[[int], object] = lambda done: None,
) -> int:
    """Add the conversation of `db/conversation.json`, or one of `count` messages; return how many were written.

    `on_progress` gets the number of messages that are in the table. A second run continues an interrupted one. Raises
    ConversationRefused, StoreUnavailable, WriteConflict, DatabaseUnavailable.
    """
    handles = MANY_HANDLES if count else HANDLES
    members = _seeded_user(users, handles[0]), _seeded_user(users, handles[1])
    group_uuid = conversation_uuid(count)
    messages = _many_messages(group_uuid, members, count) if count else _messages(group_uuid, members)
    return BulkLoader(table).load([NewConversation(group_uuid, members, messages)], on_progress=on_progress)


def conversation_uuid(count: int | None = None) -> str:
    """The uuid of the seeded conversation, or of the one that is seeded with `count` messages."""
    return str(uuid5(_LONG_CONVERSATIONS, str(count))) if count else CONVERSATION_UUID


def _seeded_user(users: UserDirectory, handle: str) -> User:
    """The user of db/seed.sql with this handle there, whatever their handle is now."""
    uuids = re.findall(rf"'([0-9a-f-]{{36}})', '[^']*', '{handle}'", (ROOT / "db/seed.sql").read_text())
    account = next(filter(None, (users.account("uuid", uuid) for uuid in uuids)), None)
    if user := account.user if account else users.by_handle(handle):
        return user
    raise ConversationRefused(f"The user {handle} is not in Postgres: run ./bin/db/setup first")


def _messages(group_uuid: str, members: tuple[User, User]) -> Iterator[NewMessage]:
    """The messages of db/conversation.json, oldest first; their uuids are the same in every table."""
    lines = json.loads((ROOT / "db/conversation.json").read_text(encoding="utf-8"))
    for number, line in enumerate(lines, start=1):
        sender = members[HANDLES.index(line["from"])]
        yield NewMessage(str(uuid5(UUID(group_uuid), str(number))), from_timestamp(line["at"]), sender, line["message"])


def _many_messages(group_uuid: str, members: tuple[User, User], count: int) -> Iterator[NewMessage]:
    """The messages of db/conversation.json over and over within a year, with numbers in their texts and uuids."""
    lines = cycle(list(_messages(group_uuid, members)))
    for number, line in zip(range(1, count + 1), lines, strict=False):
        yield NewMessage(
            uuid=f"{group_uuid[:24]}{number:012x}",
            sent_at=_LAST_AT - (count - number) * (_SPAN / count),
            sender=line.sender,
            text=f"{number}: {line.text}",
        )
