"""Conversation states and conversation locks. A state comes from the cache, from the table, or from a migration.

A cached state may be stale. This does no harm: every write has the condition that the state is current, and DynamoDB
returns the current state if it is not (docs/data-model.md). This module does not know messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from weakref import WeakValueDictionary

from cachetools import LRUCache, TTLCache

from lib.cache.base import InMemoryCache
from lib.ddb.errors import ConversationNotFound, WriteConflict
from lib.ddb.items import Conversation, Item, blockers_in, conversation_key, pair_key
from lib.ddb.migration import migrate_conversation, old_groups, old_rows
from lib.ddb.table import WRITE_SECONDS, Table
from lib.deadline import deadline, seconds_left
from lib.users.accounts import User

_CACHED_ENTRIES = 4_096
_FRESH_SECONDS = 1
_WRITERS_SECONDS = 60


class Conversations:
    """The states of one table. A process has one object; its threads share it. Every method raises StoreUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._states: InMemoryCache[str, Conversation] = InMemoryCache(LRUCache(_CACHED_ENTRIES))
        self._migrated_inboxes: InMemoryCache[str, bool] = InMemoryCache(LRUCache(_CACHED_ENTRIES))
        # States that this process wrote, or read for their members, within the last second, and conversations to which
        # other processes write too.
        self._fresh_states: InMemoryCache[str, Conversation] = InMemoryCache(TTLCache(_CACHED_ENTRIES, _FRESH_SECONDS))
        self._other_writers: InMemoryCache[str, bool] = InMemoryCache(TTLCache(_CACHED_ENTRIES, _WRITERS_SECONDS))
        self._guard = Lock()
        self._locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()

    def cached(self, *, group_uuid: str, user: User) -> Conversation:
        """The state of a conversation of this user, possibly stale: only its members are reliable.

        Raises ConversationNotFound, also if the user is not a member.
        """
        state = self._states.get(group_uuid)
        if state is None:
            state = self.get(group_uuid=group_uuid, user=user)
            self._fresh_states.put(group_uuid, state)
        return _require_member(state, user)

    def read_for_write(self, *, group_uuid: str, user: User) -> Conversation:
        """The state that a write starts from, cached or read.

        It is cached if this process wrote it, or read it for its members, within the last second, and saw no other
        writer within the last minute.

        A read costs an eightieth of a refused transaction. Raises ConversationNotFound, also if the user is not a
        member.
        """
        fresh = None if self._other_writers.get(group_uuid) else self._fresh_states.get(group_uuid)
        return _require_member(fresh, user) if fresh else self.get(group_uuid=group_uuid, user=user)

    def get(self, *, group_uuid: str, user: User) -> Conversation:
        """The state as it is in the table. Raises ConversationNotFound, also if the user is not a member."""
        return self.from_item(self._table.get(conversation_key(group_uuid)), group_uuid=group_uuid, user=user)

    def from_item(self, item: Item | None, *, group_uuid: str, user: User) -> Conversation:
        """The state in the item that a read or a refused write returned; `item` is empty or None if there is none.

        A conversation of an older backend has no such item: this method migrates the conversation. Raises
        ConversationNotFound, also if the user is not a member.
        """
        state = (
            Conversation.from_item(item, group_uuid=group_uuid)
            if item
            else migrate_conversation(self._table, group_uuid, requesting_user=user)
        )
        if state is None:
            self._states.forget(group_uuid)
            raise ConversationNotFound
        self.put_read(state)
        return _require_member(state, user)

    def put_read(self, state: Conversation) -> None:
        """Cache a state that this process read."""
        cached = self._states.get(state.group_uuid)
        if cached and cached.version != state.version:
            self._other_writers.put(state.group_uuid, True)
        self._states.put(state.group_uuid, state)

    def put_own(self, state: Conversation) -> None:
        """Cache a state that this process wrote."""
        self._states.put(state.group_uuid, state)
        self._fresh_states.put(state.group_uuid, state)

    def members(self, *, group_uuid: str) -> list[User]:
        """The members of a conversation; before its migration, the users in its inbox rows.

        For scripts: checks no membership. Empty if there is no such conversation.
        """
        item = self._table.get(conversation_key(group_uuid))
        if item is None:
            return [row.other for row in old_rows(self._table, group_uuid)]
        state = Conversation.from_item(item, group_uuid=group_uuid)
        self.put_read(state)
        return [member.user for member in state.members.values()]

    def linked(self, state: Conversation) -> Conversation | None:
        """The conversation that `pair_group_uuid` names, read from the table; None unless it has the same members.

        Its members have the blocks that hold for both conversations.
        """
        if state.pair_group_uuid is None:
            return None
        first = self._stored(state.pair_group_uuid)
        return first if first and first.members.keys() == state.members.keys() else None

    def with_pair_blocks(self, state: Conversation) -> Conversation:
        """The state with all blocks of its pair: its own, and those of the linked conversation, which this reads."""
        first = self.linked(state)
        return state.with_blocks(state.blockers | first.blockers) if first else state

    def blockers(self, user: User, other: User) -> frozenset[str]:
        """Which of two users block the other one: their uuids, read from the table."""
        guard = self._table.get(pair_key(user.uuid, other.uuid)) or {}
        if "group_uuid" not in guard:  # a block migrates a conversation of an older backend
            return blockers_in(guard)
        state = self._stored(str(guard["group_uuid"]["S"]))
        return state.blockers if state else frozenset()

    def find_by_pair(self, user: User, other: User) -> str | None:
        """The uuid of the conversation of two users, migrated or not; None if they have none."""
        return self.find_pair(user, other)[0]

    def find_pair(self, user: User, other: User) -> tuple[str | None, frozenset[str]]:
        """Like `find_by_pair`, and which of the two block the other one, unless a conversation state says it."""
        guard = self._table.get(pair_key(user.uuid, other.uuid)) or {}
        if "group_uuid" in guard:
            return str(guard["group_uuid"]["S"]), frozenset()
        group_uuid = self._old_group(user, other) or self._old_group(other, user)  # one side may have lost its row
        return group_uuid, blockers_in(guard)

    @contextmanager
    def lock(self, group_uuid: str) -> Iterator[None]:
        """Hold the conversation lock inside the `with` block: one thread of a process writes at a time.

        The wait and the block together have five seconds. Raises WriteConflict if the wait took all of them.
        """
        with self._guard:
            lock = self._locks.setdefault(group_uuid, Lock())
        with deadline(WRITE_SECONDS):
            if not lock.acquire(timeout=max(0.0, seconds_left())):
                raise WriteConflict
            try:
                yield
            finally:
                lock.release()

    def _stored(self, group_uuid: str) -> Conversation | None:
        """The state as it is in the table, without a migration and without a check of the members."""
        item = self._table.get(conversation_key(group_uuid))
        return Conversation.from_item(item, group_uuid=group_uuid) if item else None

    def _old_group(self, owner: User, other: User) -> str | None:
        if self._migrated_inboxes.get(owner.uuid):
            return None
        groups = old_groups(self._table, user_uuid=owner.uuid)
        if not groups:
            self._migrated_inboxes.put(owner.uuid, True)
        return groups.get(other.uuid)


def _require_member(state: Conversation, user: User) -> Conversation:
    if user.uuid not in state.members:
        raise ConversationNotFound
    return state
