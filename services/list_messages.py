"""Pattern A: the messages of one conversation, newest first."""

from __future__ import annotations

from lib.ddb.items import Message
from lib.ddb.store import MessageStore, Page
from lib.users import User
from services.errors import store_errors
from services.validation import check_group_in_path, check_limit


def list_messages(
    store: MessageStore, *, user: User, message_group_uuid: str, limit: str | None, cursor: str | None
) -> Page[Message]:
    """A page of a conversation that the user is a member of.

    `limit` (1 to 100, as text) and `cursor` are the client's, None where it gave none. Raises Invalid, NotFound
    (also for a conversation of others), Unavailable.
    """
    size = check_limit(limit)
    group_uuid = check_group_in_path(message_group_uuid)
    with store_errors():
        return store.list_messages(group_uuid=group_uuid, user=user, limit=size, cursor=cursor)
