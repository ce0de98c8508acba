"""Pattern D in stream mode: gives messages their `seq` and moves the inbox rows.

A record of the table's stream is only a signal; the table is the truth. For each record this module reads the messages
without `seq`. Its writes have the condition that the conversation state has not changed since it read the state. So
records may come twice, late or out of order, and inline sends may run at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce
from itertools import islice

from lib.ddb import keys
from lib.ddb.errors import ConversationNotFound, WriteConflict
from lib.ddb.inbox_rows import last_message, repair_rows, write_rows
from lib.ddb.items import Conversation, Message, conversation_key, parse_message
from lib.ddb.migration import migrate_conversation
from lib.ddb.table import MAX_WRITES, WRITE_SECONDS, Table
from lib.ddb.transactions import MessageChanged, RowChanged, StateChanged, apply_message, number_writes
from lib.deadline import tries
from lib.users.accounts import User

MESSAGES_AT_ONCE = MAX_WRITES - 7
"""A transaction also writes the state and two counts, and has a Delete and a Put for each of two rows."""


class SequenceNumbers:
    """Gives sequence numbers to the messages of one table. Safe to share between threads."""

    def __init__(self, table: Table, on_update: Callable[[Conversation], None] = lambda _: None) -> None:
        """Calls `on_update` with the state after each update of the inbox rows."""
        self._table = table
        self._on_update = on_update

    def update(self, group_uuid: str, new: Sequence[Message]) -> int:
        """Number all messages without `seq` from the first of `new` to the last, and show the last one in both rows.

        Returns the number of these messages. Numbers follow the order of the sort keys. Migrates a conversation of an
        older backend first. Raises ConversationNotFound if there is no such conversation or a sender is not a member,
        WriteConflict if other writes were faster at every try, StoreUnavailable.
        """
        first, last = min(message.created_at for message in new), max(message.created_at for message in new)
        for _ in tries(WRITE_SECONDS):
            state = self._state(group_uuid, requesting_user=new[0].sender, unread_from=first)
            if not {message.sender.uuid for message in new} <= state.members.keys():
                raise ConversationNotFound
            try:
                return self._number(state, min(first, state.last_message_at + "\0"), last)
            except (StateChanged, MessageChanged):
                continue
        raise WriteConflict

    def _state(self, group_uuid: str, *, requesting_user: User, unread_from: str) -> Conversation:
        if item := self._table.get(conversation_key(group_uuid)):
            return Conversation.from_item(item, group_uuid=group_uuid)
        migrated = migrate_conversation(
            self._table, group_uuid, requesting_user=requesting_user, unread_from=unread_from
        )
        if migrated is None:
            raise ConversationNotFound
        return migrated

    def _number(self, state: Conversation, first: str, last: str) -> int:
        count, messages = 0, self._unnumbered(state, first, last)
        while batch := list(islice(messages, MESSAGES_AT_ONCE)):
            state = self._transact(state, batch)
            self._on_update(state)
            count += len(batch)
        return count

    def _unnumbered(self, state: Conversation, first: str, last: str) -> Iterator[Message]:
        """Messages that the state does not count: they have no `seq`, or the `seq` of an unfinished migration."""
        items = self._table.all(
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            FilterExpression="attribute_not_exists(seq) OR seq > :seq",
            ExpressionAttributeValues={
                ":pk": {"S": keys.message_pk(state.group_uuid)},
                ":seq": {"N": str(state.seq)},
                ":first": {"S": first},
                ":last": {"S": last},
            },
            ConsistentRead=True,
        )
        messages = filter(None, map(parse_message, items))
        return (message for message in messages if message.sender.uuid in state.members)

    def _transact(self, before: Conversation, messages: Sequence[Message]) -> Conversation:
        """Number messages, in the order of their keys, and return the state after them."""
        for _ in tries(WRITE_SECONDS):
            after = reduce(apply_message, messages, before)
            is_later = after.last_message_at > before.last_message_at
            # Late messages have lower sort keys than the last message, so the rows keep that one.
            last = messages[-1] if is_later else last_message(self._table, after) or messages[-1]
            writes = partial(number_writes, before, messages=messages, last=last)
            try:
                return write_rows(self._table, after, writes)
            except RowChanged:
                before = repair_rows(self._table, before, replace(before, version=before.version + 1))
        raise WriteConflict
