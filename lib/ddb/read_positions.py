"""Read positions: how far each member has read.

Marking as read and sending move a position forward, and marking as unread moves it back. While a user blocks the other
member, the user's position stays where it is.

The conversation state holds the read positions. The transaction that changes a position also copies it to the member's
inbox row. The unread count is `seq - read_seq`, so no counter can be wrong (docs/data-model.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lib.ddb import keys
from lib.ddb.conversations import Conversations
from lib.ddb.items import Conversation, InboxRow, Message, parse_all
from lib.ddb.members import Members, change_members
from lib.ddb.table import Table
from lib.users.accounts import User

# Page sizes of the search for a member's last message: each page is twice the size of the one before.
_FIRST_PAGE, _LARGEST_PAGE = 20, 1_000


class ReadPositions:
    """The positions of one table, safe to share between threads. Every method raises StoreUnavailable."""

    def __init__(
        self,
        table: Table,
        conversations: Conversations,
        *,
        on_update: Callable[[Conversation, User], None] = lambda *_: None,
    ) -> None:
        """Calls `on_update` with the new state and the user after each change of a position."""
        self._table = table
        self._conversations = conversations
        self._on_update = on_update

    def mark_read(self, *, group_uuid: str, user: User, seq: int) -> Conversation:
        """Move a user's position to the message with this number: never back, never past the last message.

        Returns the new state. Raises ConversationNotFound and WriteConflict, both with nothing written.
        """

        def change(state: Conversation) -> Members:
            member = state.members[user.uuid]
            return {user.uuid: replace(member, read_seq=max(member.read_seq, min(seq, state.seq)))}

        return self._move(self._conversations.get(group_uuid=group_uuid, user=user), user, change)

    def mark_unread(self, *, group_uuid: str, user: User) -> Conversation:
        """Move a user's position back to before the other member's last message, if there is one; never forward.

        Returns the new state. Raises ConversationNotFound and WriteConflict, both with nothing written.
        """
        state = self._conversations.get(group_uuid=group_uuid, user=user)
        [other_uuid] = state.members.keys() - {user.uuid}
        searched_seq = last_seq = 0
        if state.members[other_uuid].last_seq is None:
            # The long search comes before the lock. Under the lock, `change` searches only newer messages.
            last_seq, searched_seq = self._search(state, other_uuid, above=0), state.seq

        def change(state: Conversation) -> Members:
            member, other = state.members[user.uuid], state.members[other_uuid]
            if other.last_seq is None:
                newer_seq = self._search(state, other_uuid, above=searched_seq) if state.seq > searched_seq else 0
                other = replace(other, last_seq=newer_seq or last_seq)
            read_seq = min(member.read_seq, other.last_seq - 1) if other.last_seq else member.read_seq
            return {user.uuid: replace(member, read_seq=read_seq), other_uuid: other}

        return self._move(state, user, change)

    def unread_count(self, *, user_uuid: str, at_most: int) -> int:
        """The number of unread messages in all conversations of a user; counting stops above `at_most`.

        Sends one Query for each MB of the inbox, which is some 3000 conversations.
        """
        rows = self._table.partition(
            keys.inbox_pk(user_uuid), FilterExpression="read_seq < seq", ScanIndexForward=False
        )
        count = 0
        for row in parse_all(rows, InboxRow.from_item):
            count += row.unread_count
            if count > at_most:
                break
        return count

    def _move(self, state: Conversation, user: User, change: Callable[[Conversation], Members]) -> Conversation:
        def change_unless_blocking(state: Conversation) -> Members:
            # The other member gets no `read` event, and would tell the block from a position that moves without one.
            return {} if state.members[user.uuid].blocks else change(state)

        def on_change(after: Conversation) -> None:
            self._on_update(after, user)

        return change_members(
            self._table, self._conversations, state, user, change_unless_blocking, on_change=on_change
        )

    def _search(self, state: Conversation, sender_uuid: str, *, above: int) -> int:
        """The `seq` of a member's last message; 0 if it is not greater than `above`."""
        pk, before, limit, more = keys.message_pk(state.group_uuid), None, _FIRST_PAGE, True
        while more:
            items, more = self._table.newest(pk, limit=limit, before=before)
            for message in parse_all(items, Message.from_item):
                if message.seq is None:
                    continue
                if message.seq <= above:
                    return 0
                if message.sender.uuid == sender_uuid:
                    return message.seq
            before, limit = items[-1]["sk"]["S"] if items else None, min(2 * limit, _LARGEST_PAGE)
        return 0
