"""What a new system holds, so that somebody can sign in and find something. Running it again adds nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from secrets import token_hex
from uuid import UUID, uuid5

from lib.clock import from_timestamp
from lib.config import ROOT
from lib.ddb.cursors import CursorSigner
from lib.ddb.store import MessageStore
from lib.ddb.table import Table
from lib.postgres.database import Database
from lib.users.directory import User, UserDirectory
from services.create_message import create_message
from services.list_messages import list_messages

CONVERSATION_UUID = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
HANDLES = ("Augustsz", "bayko")
"""The two who talk in db/conversation.json."""


class SeedRefused(Exception):
    """The conversation cannot be added; the message says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message of db/conversation.json; its uuid is the same in every run."""

    uuid: str
    at: str
    handle: str
    text: str


def seed_users(database: Database) -> int:
    """Add the users of `db/seed.sql` that are not there; how many were added. Raises DatabaseUnavailable."""
    return database.script("db/seed.sql")


def seed_conversation(
    table: Table, users: UserDirectory, *, each: Callable[[int, int], object] = lambda done, total: None
) -> int:
    """Add the messages of `db/conversation.json` that are not there, with their own times; how many were added.

    `each` is told after every message how many of how many are there. A run that was interrupted is continued; what
    people wrote meanwhile stays before the rest, which takes later times then. Raises SeedRefused, ServiceError,
    StoreUnavailable, DatabaseUnavailable.
    """
    lines = read_lines()
    line, names = lines[-1], iter([""])
    store = MessageStore(
        table,
        CursorSigner(token_hex()),
        clock=lambda: from_timestamp(line.at),
        new_uuid=lambda: next(names),
    )
    last = store.message_at(group_uuid=CONVERSATION_UUID, created_at=line.at)
    if last and last.uuid == line.uuid:
        return 0
    people = {handle: seeded_user(users, handle) for handle in HANDLES}
    started = _is_started(store, *people.values())
    written = set(_message_uuids(store, people[HANDLES[0]])) if started else set()
    missing = [line for line in lines if line.uuid not in written]
    for done, line in enumerate(missing, start=len(lines) - len(missing) + 1):
        # The store asks for a name once more when a write has to be tried again: the message keeps its own.
        names = repeat(line.uuid) if started else chain([CONVERSATION_UUID], repeat(line.uuid))
        to = {"message_group_uuid": CONVERSATION_UUID} if started else {"handle": _other(line.handle)}
        create_message(store, users, sender=people[line.handle], body={"message": line.text, **to})
        started = True
        each(done, len(lines))
    return len(missing)


def read_lines() -> list[Line]:
    """db/conversation.json, the oldest message first."""
    lines = json.loads((ROOT / "db/conversation.json").read_text(encoding="utf-8"))
    return [
        Line(str(uuid5(UUID(CONVERSATION_UUID), str(number))), line["at"], line["from"], line["message"])
        for number, line in enumerate(lines, start=1)
    ]


def seeded_user(users: UserDirectory, handle: str) -> User:
    """A user of db/seed.sql. Raises SeedRefused if they are not there, DatabaseUnavailable."""
    if user := users.by_handle(handle):
        return user
    raise SeedRefused(f"The user {handle} is not in Postgres: run ./bin/db/setup first")


def _is_started(store: MessageStore, user: User, other: User) -> bool:
    """Whether the conversation is there. Raises SeedRefused if another one stands in its way."""
    members = {member.uuid for member in store.conversations.members(group_uuid=CONVERSATION_UUID)}
    if members and members != {user.uuid, other.uuid}:
        raise SeedRefused(f"The conversation {CONVERSATION_UUID} is other people's: nothing was added")
    if not members and (group_uuid := store.conversations.find_by_pair(user, other)):
        raise SeedRefused(
            f"{user.handle} and {other.handle} talk already, in {group_uuid}, and a pair has one conversation: "
            "nothing was added"
        )
    return bool(members)


def _message_uuids(store: MessageStore, user: User) -> Iterator[str]:
    cursor = None
    while True:
        page = list_messages(store, user=user, message_group_uuid=CONVERSATION_UUID, limit="100", cursor=cursor)
        yield from (message.uuid for message in page.items)
        cursor = page.next_cursor
        if cursor is None:
            return


def _other(handle: str) -> str:
    return HANDLES[1] if handle == HANDLES[0] else HANDLES[0]
