"""Pattern B: a user's conversations, newest first, or those that changed since a feed cursor, oldest first."""

from __future__ import annotations

from lib.ddb.items import InboxRow
from lib.ddb.queries import Page
from lib.ddb.store import MessageStore
from lib.users.directory import User, UserDirectory
from services.current_names import name_others
from services.errors import as_service_errors
from services.validation import check_limit, check_one_position


@as_service_errors()
def list_message_groups(
    store: MessageStore,
    users: UserDirectory | None = None,
    *,
    user: User,
    limit: str | None,
    cursor: str | None = None,
    since: str | None = None,
) -> Page[InboxRow]:
    """A page of the user's inbox, or of its feed after the feed cursor `since`.

    The client sends `limit` (1 to `MAX_LIMIT`, as text) and at most one of `cursor` and `since`.
    Raises Invalid, Unavailable.
    """
    size = check_limit(limit)
    check_one_position(cursor=cursor, since=since)
    if since is not None:
        page = store.list_changed(user_uuid=user.uuid, limit=size, since=since)
    else:
        page = store.list_inbox(user_uuid=user.uuid, limit=size, cursor=cursor)
    name_others(users, page.items)
    return page
