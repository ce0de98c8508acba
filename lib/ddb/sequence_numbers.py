"""Pattern D after the fact: messages that were written alone get their numbers, and their conversation's rows move.

Told by the table's stream which messages are new, it takes that for a signal only, and the table for the truth: it
reads which messages have no `seq`, and writes on condition that the state is still the one it read. So a signal that
comes twice, late or in another order does no harm, nor do sends that do D themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from itertools import islice

from lib.clock import tick_after
from lib.ddb import keys
from lib.ddb.errors import ConversationNotFound, WriteConflict
from lib.ddb.items import Conversation, Message, conversation_key, parse_message
from lib.ddb.migration import migrate_conversation
from lib.ddb.table import WRITE_SECONDS, Table
from lib.ddb.transactions import KeyTaken, MessageChanged, StateChanged, apply_message, number_writes
from lib.deadline import tries

MESSAGES_AT_ONCE = 95
"""A transaction has 100 items: beside the messages, the state, and for each of two rows a Delete and a Put."""

_LOOKED_AT = 10  # items without the shape of a message may stand above the last one


class SequenceNumbers:
    """The updates of one table; safe to share between threads."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def update(self, group_uuid: str, new: Sequence[Message]) -> int:
        """Number the messages without `seq` from the first of `new` to the last, and bring the latest into both rows.

        In between may be others, which are numbered with them, so that numbers follow the order of the sort keys.
        Returns how many there were. An older backend's conversation is adopted first. Raises ConversationNotFound if
        there is none, or a sender is no member of it; WriteConflict when others kept writing to it; StoreUnavailable.
        """
        first, last = min(message.created_at for message in new), max(message.created_at for message in new)
        for _ in tries(WRITE_SECONDS):
            state = self._state(group_uuid, requesting_user=new[0], unread_from=first)
            if not {message.sender.uuid for message in new} <= state.members.keys():
                raise ConversationNotFound
            try:
                return self._number(state, min(first, state.last_message_at + "\0"), last)
            except (StateChanged, MessageChanged):
                continue
        raise WriteConflict

    def _state(self, group_uuid: str, *, requesting_user: Message, unread_from: str) -> Conversation:
        item = self._table.get(conversation_key(group_uuid))
        if item:
            return Conversation.from_item(item, group_uuid=group_uuid)
        adopted = migrate_conversation(
            self._table, group_uuid, requesting_user=requesting_user.sender, unread_from=unread_from
        )
        if adopted is None:
            raise ConversationNotFound
        return adopted

    def _number(self, state: Conversation, first: str, last: str) -> int:
        count, messages = 0, self._uncounted(state, first, last)
        while batch := list(islice(messages, MESSAGES_AT_ONCE)):
            state = self._transact(state, batch)
            count += len(batch)
        return count

    def _uncounted(self, state: Conversation, first: str, last: str) -> Iterator[Message]:
        """The messages that the state does not count: without `seq`, or with one of an adoption that came too late."""
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
        for item in items:
            message = parse_message(item, group_uuid=state.group_uuid)
            if message and message.sender.uuid in state.members:
                yield message

    def _transact(self, before: Conversation, messages: Sequence[Message]) -> Conversation:
        """The state after these messages, which are in the order of their keys."""
        after = reduce(apply_message, messages, before)
        for _ in tries(WRITE_SECONDS):
            last = messages[-1] if after.last_message_at > before.last_message_at else self._shown(after, messages)
            try:
                self._table.transact(number_writes(before, after, messages, last=last))
            except KeyTaken:  # a member got a message in another conversation in the same microsecond
                after = replace(after, last_message_at=tick_after(after.last_message_at))
            else:
                return after
        raise WriteConflict

    def _shown(self, state: Conversation, late: Sequence[Message]) -> Message:
        """The message that the rows show, and go on showing: all the new ones are below it."""
        end = state.last_message_at + "\0"
        items, _ = self._table.newest(keys.message_pk(state.group_uuid), limit=_LOOKED_AT, before=end)
        found = (parse_message(item, group_uuid=state.group_uuid) for item in items)
        return next((message for message in found if message), late[-1])
