"""How far each member has read: moved forward by reading and sending, back by marking unread.

A position stands in the conversation's state and, copied by the same transaction, in the member's inbox row; what is
unread is `seq - read_seq`, so there is no counter that could drift (DESIGN.md section 2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lib.ddb import keys
from lib.ddb.conversations import ATTEMPTS, Conversations
from lib.ddb.errors import Contended
from lib.ddb.items import Conversation, InboxRow, Message
from lib.ddb.sending import StateChanged, read_writes
from lib.ddb.table import Table, pause
from lib.users import User

_MESSAGES_PER_QUERY = 20


class ReadPositions:
    """The positions of one table, safe to share between threads. Every method raises StoreUnavailable."""

    def __init__(self, table: Table, conversations: Conversations) -> None:
        self._table = table
        self._conversations = conversations

    def mark_read(self, *, group_uuid: str, user: User, seq: int) -> Conversation:
        """Move a user's position to the message with this number: never back, never past the last message.

        Returns the state after it. Raises ConversationNotFound; Contended, with nothing written.
        """
        return self._move(group_uuid, user, lambda state: max(state.members[user.uuid].read_seq, min(seq, state.seq)))

    def mark_unread(self, *, group_uuid: str, user: User) -> Conversation:
        """Move a user's position back to before the other's last message: never forward; nowhere if there is none.

        Returns the state after it. Raises ConversationNotFound; Contended, with nothing written.
        """
        return self._move(group_uuid, user, lambda state: self._before_last_of_other(state, user))

    def unread_count(self, *, user_uuid: str, at_most: int) -> int:
        """Messages that a user has not read, over all of their conversations; counting stops above `at_most`.

        One Query for each MB of inbox, some 3000 conversations.
        """
        rows = self._table.all(
            KeyConditionExpression="pk = :pk",
            FilterExpression="read_seq < seq",
            ExpressionAttributeValues={":pk": {"S": keys.inbox_pk(user_uuid)}},
            ScanIndexForward=False,
            ConsistentRead=True,
        )
        count = 0
        for row in map(InboxRow.from_item, rows):
            count += row.unread_count
            if count > at_most:
                break
        return count

    def _move(self, group_uuid: str, user: User, target: Callable[[Conversation], int]) -> Conversation:
        with self._conversations.turn(group_uuid):
            # What the process remembers will not do: whether there is anything to write is decided by the state.
            state = self._conversations.current(group_uuid=group_uuid, user=user)
            for attempt in range(ATTEMPTS):
                member, read_seq = state.members[user.uuid], target(state)
                if read_seq == member.read_seq:
                    return state
                members = {**state.members, user.uuid: replace(member, read_seq=read_seq)}
                after = replace(state, members=members, version=state.version + 1)
                try:
                    self._table.transact(read_writes(state, after, owner_uuid=user.uuid))
                except StateChanged as changed:
                    state = self._conversations.found(changed.item, group_uuid=group_uuid, user=user)
                    pause(attempt)
                else:
                    self._conversations.remember(after)
                    return after
        raise Contended

    def _before_last_of_other(self, state: Conversation, user: User) -> int:
        before, more = None, True
        while more:
            pk = keys.message_pk(state.group_uuid)
            items, more = self._table.newest(pk, limit=_MESSAGES_PER_QUERY, before=before)
            for item in items:
                message = Message.from_item(item, group_uuid=state.group_uuid)
                if message.sender.uuid != user.uuid and message.seq is not None:
                    return min(state.members[user.uuid].read_seq, message.seq - 1)
                before = message.created_at
        return state.members[user.uuid].read_seq
