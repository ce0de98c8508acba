"""Pattern A: the messages of one conversation, newest first."""

from __future__ import annotations

from lib.ddb.items import Message
from lib.ddb.queries import Page
from lib.ddb.store import MessageStore
from lib.users.accounts import User
from lib.users.directory import UserDirectory
from services.current_names import name_senders
from services.errors import as_service_errors
from services.validation import check_created_at, check_group_in_path, check_limit, check_one_position


@as_service_errors()
def list_messages(
    store: MessageStore,
    users: UserDirectory | None = None,
    *,
    user: User,
    message_group_uuid: str,
    limit: str | None,
    cursor: str | None = None,
    before: str | None = None,
    after: str | None = None,
    around: str | None = None,
) -> Page[Message]:
    """A page of a conversation that the user is a member of.

    The client sends `limit` (1 to `MAX_LIMIT`, as text) and at most one position: `cursor`, or one of the times
    `before`, `after` and `around`. Raises Invalid, NotFound (also for a conversation of others), Unavailable.
    """
    size = check_limit(limit)
    check_one_position(cursor=cursor, before=before, after=after, around=around)
    times = {"before": before, "after": after, "around": around}
    position = {name: check_created_at(text) for name, text in times.items() if text is not None}
    group_uuid = check_group_in_path(message_group_uuid)
    page = store.list_messages(group_uuid=group_uuid, user=user, limit=size, cursor=cursor, **position)
    name_senders(users, page.items)
    return page
