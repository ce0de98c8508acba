"""The conversations' states: remembered by the process, read when needed, adopted from old data.

What a process remembers may be out of date. Every write is conditional on it, and a refusal carries the current
state (docs/data-model.md). Knows no messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from cachetools import LRUCache

from lib.cache import Memory
from lib.ddb.adoption import adopt, inbox_rows, old_groups
from lib.ddb.errors import ConversationNotFound
from lib.ddb.items import Conversation, Item, conversation_key, pair_key
from lib.ddb.table import Table
from lib.ddb.turns import Turns
from lib.users import User

ATTEMPTS = 24
"""How often a write to a conversation is tried on a state that turns out to be an earlier one."""

_TURN_SECONDS = 5.0
_REMEMBERED = 4_096


class Conversations:
    """The states of one table; one a process, safe to share between threads. Every method raises StoreUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._states: Memory[str, Conversation] = Memory(LRUCache(_REMEMBERED))
        self._adopted_inboxes: Memory[str, bool] = Memory(LRUCache(_REMEMBERED))
        self._turns = Turns()

    def known(self, *, group_uuid: str, user: User) -> Conversation:
        """The state of a conversation of this user, possibly an earlier one: only its members are sure to be true.

        Raises ConversationNotFound, also for who is no member.
        """
        state = self._states.get(group_uuid)
        if state is None:
            return self.current(group_uuid=group_uuid, user=user)
        return _of_member(state, user)

    def current(self, *, group_uuid: str, user: User) -> Conversation:
        """The state as it is in the table. Raises ConversationNotFound, also for who is no member."""
        return self.found(self._table.get(conversation_key(group_uuid)), group_uuid=group_uuid, user=user)

    def found(self, item: Item | None, *, group_uuid: str, user: User) -> Conversation:
        """The state that an item holds, as a read or a refused write gave it; empty or None where there is none.

        An older backend's conversation is adopted here. Raises ConversationNotFound, also for who is no member.
        """
        state = (
            Conversation.from_item(item, group_uuid=group_uuid)
            if item
            else adopt(self._table, group_uuid, witness=user)
        )
        if state is None:
            self._states.forget(group_uuid)
            raise ConversationNotFound
        self.remember(state)
        return _of_member(state, user)

    def remember(self, state: Conversation) -> None:
        """Take this for the conversation's state from now on."""
        self._states.put(state.group_uuid, state)

    def members(self, *, group_uuid: str) -> list[User]:
        """Who talks in a conversation, for who looks at it from outside; empty if it is not there.

        Of one that nobody has adopted: the users whom its inbox rows show.
        """
        item = self._table.get(conversation_key(group_uuid))
        if item is None:
            return [row.other for row in inbox_rows(self._table, group_uuid)]
        state = Conversation.from_item(item, group_uuid=group_uuid)
        self.remember(state)
        return [member.user for member in state.members.values()]

    def of_pair(self, user: User, other: User) -> str | None:
        """The uuid of the conversation of two users, also an older backend's; None if they have none."""
        item = self._table.get(pair_key(user.uuid, other.uuid))
        if item is not None:
            return str(item["group_uuid"]["S"])
        return self._old_group(user, other) or self._old_group(other, user)  # a row of one side may have been lost

    def turn(self, group_uuid: str) -> AbstractContextManager[Iterator[None]]:
        """One writer a conversation and process: threads that met would only cancel each other's transactions.

        Gives the tries for which there is time: five seconds, and waiting counts. Raises Contended if it took all.
        """
        return self._turns.of(group_uuid, seconds=_TURN_SECONDS)

    def _old_group(self, owner: User, other: User) -> str | None:
        if self._adopted_inboxes.get(owner.uuid):
            return None
        groups = old_groups(self._table, user_uuid=owner.uuid)
        if not groups:
            self._adopted_inboxes.put(owner.uuid, True)
        return groups.get(other.uuid)


def _of_member(state: Conversation, user: User) -> Conversation:
    if user.uuid not in state.members:
        raise ConversationNotFound
    return state
