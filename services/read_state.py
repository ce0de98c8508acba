"""The read state: both members' read positions, marking as read or unread, and the total of unread messages."""

from __future__ import annotations

from lib.ddb.items import Conversation
from lib.ddb.read_positions import ReadPositions
from lib.ddb.store import MessageStore
from lib.users.accounts import User
from lib.users.directory import UserDirectory
from services.current_names import name_members
from services.errors import as_service_errors
from services.validation import check_group_in_path, check_read_position

MAX_UNREAD_SHOWN = 99


@as_service_errors()
def show_message_group(
    store: MessageStore, users: UserDirectory, *, user: User, message_group_uuid: str
) -> Conversation:
    """The current state of a user's conversation, with all blocks of its members.

    Raises NotFound (also for conversations of others), Unavailable.
    """
    group_uuid = check_group_in_path(message_group_uuid)
    state = store.conversations.get(group_uuid=group_uuid, user=user)
    return name_members(users, store.conversations.with_pair_blocks(state))


@as_service_errors()
def mark_read(positions: ReadPositions, *, user: User, message_group_uuid: str, body: object) -> Conversation:
    """Move the user's position to `{seq}`, never back and never past the last message; return the new state.

    `body` is the parsed JSON, of any type. Raises Invalid, NotFound and Unavailable.
    """
    group_uuid, seq = check_group_in_path(message_group_uuid), check_read_position(body)
    return positions.mark_read(group_uuid=group_uuid, user=user, seq=seq)


@as_service_errors()
def mark_unread(positions: ReadPositions, *, user: User, message_group_uuid: str) -> Conversation:
    """Mark the other member's last message as unread; return the new state. Raises NotFound, Unavailable."""
    group_uuid = check_group_in_path(message_group_uuid)
    return positions.mark_unread(group_uuid=group_uuid, user=user)


@as_service_errors()
def count_unread(positions: ReadPositions, *, user: User) -> int | str:
    """The user's unread messages over all conversations: 0 to 99, or "99+". Raises Unavailable."""
    count = positions.unread_count(user_uuid=user.uuid, at_most=MAX_UNREAD_SHOWN)
    return count if count <= MAX_UNREAD_SHOWN else f"{MAX_UNREAD_SHOWN}+"
