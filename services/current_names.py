"""Today's names instead of the copies in the table.

The copies serve while Postgres is unavailable, and scripts that work without a directory of users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lib.ddb.items import Block, Conversation, InboxRow, Message
from lib.users.accounts import User
from lib.users.directory import UserDirectory


def name_senders(users: UserDirectory | None, messages: Sequence[Message]) -> None:
    """Give the messages their senders' names of today."""
    current = users.current({message.sender.uuid for message in messages}) if users else {}
    for message in messages:
        message.sender = _current_user(current, message.sender)


def name_others(users: UserDirectory | None, rows: Sequence[InboxRow]) -> None:
    """Give the inbox rows the other members' names of today."""
    current = users.current({row.other.uuid for row in rows}) if users else {}
    for row in rows:
        row.other = _current_user(current, row.other)


def name_members(users: UserDirectory, state: Conversation) -> Conversation:
    """The conversation with its members' names of today."""
    current = users.current(state.members.keys())
    members = {
        uuid: replace(member, user=_current_user(current, member.user)) for uuid, member in state.members.items()
    }
    return replace(state, members=members)


def name_blocked(users: UserDirectory, blocks: Sequence[Block]) -> list[Block]:
    """The blocks with the blocked users' names of today."""
    current = users.current({block.user.uuid for block in blocks})
    return [replace(block, user=_current_user(current, block.user)) for block in blocks]


def _current_user(current: Mapping[str, User | None], stored: User) -> User:
    """The user of today; with the stored names if the row is gone or Postgres is unavailable."""
    if stored.uuid not in current:
        return stored
    return current[stored.uuid] or replace(stored, is_deleted=True)
