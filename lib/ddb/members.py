"""Changes of a conversation's members: a read position or a block, in the state and in the member's own inbox row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lib.ddb.conversations import Conversations
from lib.ddb.errors import WriteConflict
from lib.ddb.inbox_rows import repair_rows
from lib.ddb.items import Conversation, Member
from lib.ddb.table import WRITE_SECONDS, Table, Write
from lib.ddb.transactions import RowChanged, StateChanged, member_writes
from lib.deadline import tries
from lib.users.accounts import User

Members = Mapping[str, Member]


def change_members(
    table: Table,
    conversations: Conversations,
    state: Conversation,
    user: User,
    change: Callable[[Conversation], Members],
    *,
    more_writes: Sequence[Write] = (),
    on_change: Callable[[Conversation], object] = lambda _: None,
) -> Conversation:
    """Write the members that `change(state)` returns, if they differ, and return the new state.

    `state` is a fresh read. `more_writes` come in the same transaction, before its other writes. Raises their errors,
    ConversationNotFound and WriteConflict, all with nothing written, and StoreUnavailable.
    """
    with conversations.lock(state.group_uuid):
        for _ in tries(WRITE_SECONDS):
            members = {**state.members, **change(state)}
            if members == state.members:
                return state
            after = replace(state, members=members, version=state.version + 1)
            try:
                if _write(table, state, after, user, more_writes):
                    conversations.put_own(after)
                    on_change(after)
                    return after
                state = repair_rows(table, state, replace(state, version=state.version + 1))
            except StateChanged as changed:
                state = conversations.from_item(changed.item, group_uuid=state.group_uuid, user=user)
    raise WriteConflict


def _write(table: Table, before: Conversation, after: Conversation, user: User, more_writes: Sequence[Write]) -> bool:
    """Write the state and the user's row; False, with nothing written, if the user's row is not in order."""
    try:
        table.transact([*more_writes, *member_writes(before, after, owner_uuid=user.uuid)])
    except RowChanged:
        return False
    return True
