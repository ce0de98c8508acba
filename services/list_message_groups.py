"""Pattern B: a user's conversations, newest first."""

from __future__ import annotations

from lib.ddb.items import InboxRow
from lib.ddb.store import MessageStore, Page
from lib.users import User
from services.errors import store_errors
from services.validation import check_limit


def list_message_groups(store: MessageStore, *, user: User, limit: str | None, cursor: str | None) -> Page[InboxRow]:
    """A page of the user's inbox.

    `limit` (1 to 100, as text) and `cursor` are the client's, None where it gave none. Raises Invalid, Unavailable.
    """
    size = check_limit(limit)
    with store_errors():
        return store.list_inbox(user_uuid=user.uuid, limit=size, cursor=cursor)
