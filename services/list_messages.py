"""Pattern A: the messages of one conversation, newest first."""

from __future__ import annotations

from lib.ddb.items import Message
from lib.ddb.store import MessageStore, Page
from lib.users import User
from services.errors import Code, NotFound, store_errors
from services.validation import check_limit, is_uuid


def list_messages(
    store: MessageStore, *, user: User, message_group_uuid: str, limit: str | None, cursor: str | None
) -> Page[Message]:
    """A page of a conversation that the user is a member of.

    `limit` (1 to 100, as text) and `cursor` are the client's, None where it gave none. Raises Invalid, NotFound
    (also for a conversation of others), Unavailable.
    """
    size = check_limit(limit)
    if not is_uuid(message_group_uuid):
        raise NotFound(Code.MESSAGE_GROUP_NOT_FOUND)
    with store_errors():
        return store.list_messages(group_uuid=message_group_uuid.lower(), user=user, limit=size, cursor=cursor)
