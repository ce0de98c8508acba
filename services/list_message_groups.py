"""Pattern B: a user's conversations, newest first, or those that changed since a feed cursor, oldest first."""

from __future__ import annotations

from collections.abc import Mapping

from lib.ddb.items import InboxRow
from lib.ddb.queries import Page
from lib.ddb.store import MessageStore
from lib.users.accounts import User
from lib.users.directory import UserDirectory
from services.current_names import name_others
from services.errors import Code, Invalid, as_service_errors
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


@as_service_errors()
def find_message_group(
    store: MessageStore, users: UserDirectory, *, user: User, handle: str, args: Mapping[str, str]
) -> Page[InboxRow]:
    """A page with the user's conversation with the owner of a handle. Empty if there is no such conversation or owner.

    The other query arguments are `args`. Raises Invalid, Unavailable.
    """
    check_limit(args.get("limit"))
    if args.keys() & {"cursor", "since"}:
        raise Invalid(Code.POSITION_AMBIGUOUS)
    other = users.by_handle(handle)
    row = store.find_inbox_row(user=user, other=other) if other and other.uuid != user.uuid else None
    rows = [row] if row else []
    name_others(users, rows)
    return Page(rows)
