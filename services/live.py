"""Live updates: read the feed of an event stream, and publish hints to the event streams."""

from __future__ import annotations

from lib.ddb.errors import StoreUnavailable
from lib.ddb.items import Conversation, InboxRow
from lib.ddb.store import MessageStore
from lib.live.hub import Hint, Hub
from lib.users.accounts import User
from lib.users.directory import UserDirectory
from services.current_names import name_others
from services.errors import as_service_errors
from services.validation import check_group_in_path

CHANGES_AT_ONCE = 20

Change = tuple[InboxRow, str]
"""A changed conversation, and the feed cursor after it."""


class FeedReader:
    """Reads the feed of one user from a cursor on, without a gap. Not safe to share between threads."""

    __slots__ = ("_store", "_user_uuid", "_users", "cursor")

    def __init__(self, store: MessageStore, users: UserDirectory | None, user: User, *, since: str | None) -> None:
        """Without `since`, it begins now. Raises Unavailable."""
        self._store = store
        self._users = users
        self._user_uuid = user.uuid
        self.cursor = since or ""
        if since is None:
            self.restart()

    @as_service_errors()
    def restart(self) -> None:
        """Begin again with the changes from now on. Raises Unavailable."""
        self.cursor = self._store.list_inbox(user_uuid=self._user_uuid, limit=CHANGES_AT_ONCE).feed_cursor or ""

    @as_service_errors()
    def changes(self) -> tuple[list[Change], bool]:
        """The next changes, oldest first, and whether there are more. Raises Invalid, Gone, Unavailable."""
        changes, self.cursor, more = self._store.changes_with_cursors(
            user_uuid=self._user_uuid, limit=CHANGES_AT_ONCE, since=self.cursor
        )
        name_others(self._users, [row for row, _ in changes])
        return changes, more


def drop_changed_users(users: UserDirectory, hint: Hint) -> None:
    """Drop this process's copies of the users of a `user` hint."""
    users.drop_copies(hint.user_uuids, cognito_user_id=hint.data["cognito_user_id"])


def publish_update(hub: Hub, state: Conversation) -> None:
    """Make the members' streams read their feeds, except those of a member who blocks the other one."""
    hub.publish(Hint("message_group", tuple(uuid for uuid in state.members if uuid not in state.blockers)))


def publish_read(hub: Hub, store: MessageStore, state: Conversation, user: User) -> None:
    """Tell both members' streams how far a user has read; if one blocks the other, only the user's streams."""
    receivers = tuple(state.members)
    try:
        is_blocked = bool(store.conversations.with_pair_blocks(state).blockers)
    except StoreUnavailable:  # the position is stored, and a hint may get lost
        is_blocked = True
    if is_blocked:
        receivers = (user.uuid,)
    data = {"uuid": state.group_uuid, "user_uuid": user.uuid, "read_seq": state.members[user.uuid].read_seq}
    hub.publish(Hint("read", receivers, data))


@as_service_errors()
def publish_typing(hub: Hub, store: MessageStore, *, user: User, message_group_uuid: str) -> None:
    """Tell the other member that a user types, if neither blocks the other. Raises NotFound, Unavailable."""
    group_uuid = check_group_in_path(message_group_uuid)
    state = store.conversations.get(group_uuid=group_uuid, user=user)
    if store.conversations.with_pair_blocks(state).blockers:
        return
    others = tuple(state.members.keys() - {user.uuid})
    hub.publish(Hint("typing", others, {"uuid": group_uuid, "user_uuid": user.uuid}))
