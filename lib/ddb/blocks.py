"""Blocks: a user blocks another one, so that neither can write to the other.

A block is an attribute of the pair. If the two users have a conversation, the conversation state has it, so the
condition of every inline send includes it. Else the pair guard has it, so the condition of the first message does.
The list of a user's blocks is a copy, written in the same transactions (docs/data-model.md).
"""

from __future__ import annotations

from dataclasses import replace

from lib.clock import Clock, now, to_timestamp
from lib.ddb import keys
from lib.ddb.conversations import Conversations
from lib.ddb.cursors import CursorSigner
from lib.ddb.errors import ConversationNotFound, WriteConflict, WriteRefused
from lib.ddb.items import Block, Conversation, PairGuard, block_key, blockers_in, pair_key
from lib.ddb.members import Members, change_members
from lib.ddb.queries import Page, PageReader
from lib.ddb.table import ABSENT, WRITE_SECONDS, Table, Write, check, delete, put
from lib.ddb.transactions import SAME_BLOCKS, PairTaken
from lib.deadline import deadline, tries
from lib.users.accounts import User


class Blocks:
    """The blocks of one table, safe to share between threads. Every method raises StoreUnavailable."""

    def __init__(
        self, table: Table, conversations: Conversations, cursors: CursorSigner, *, clock: Clock = now
    ) -> None:
        self._table = table
        self._conversations = conversations
        self._pages = PageReader(table, cursors, Block.from_item)
        self._clock = clock

    def add(self, *, user: User, other: User) -> None:
        """Let a user block another one; a second call changes nothing. Raises WriteConflict, with nothing written.

        In inline mode, no message of the two is stored after this method has returned.
        """
        block = Block(user.uuid, other, to_timestamp(self._clock()))
        self._change(user, other, blocks=True, list_write=Write({"Put": {"Item": block.to_item()}}))

    def remove(self, *, user: User, other: User) -> None:
        """End a user's block of another one; without a block, change nothing. Raises WriteConflict."""
        list_write = Write({"Delete": {"Key": block_key(user.uuid, other.uuid)}})
        self._change(user, other, blocks=False, list_write=list_write)

    def page(self, *, user_uuid: str, limit: int, cursor: str | None = None) -> Page[Block]:
        """A page of the users whom a user blocks, in descending order of their uuids. Raises CursorInvalid."""
        return self._pages.newest(keys.block_pk(user_uuid), limit, cursor)

    def _change(self, user: User, other: User, *, blocks: bool, list_write: Write) -> None:
        with deadline(WRITE_SECONDS):
            for _ in tries(WRITE_SECONDS):
                state = self._conversation(user, other)
                try:
                    if state:
                        return self._change_state(state, user, blocks, list_write)
                    return self._change_guard(user, other, blocks, list_write)
                except (WriteRefused, ConversationNotFound):  # their first message or a migration came first
                    continue
        raise WriteConflict

    def _conversation(self, user: User, other: User) -> Conversation | None:
        """The conversation that has the blocks of the pair. Migrates it if it is one of an older backend."""
        group_uuid = self._conversations.find_by_pair(user, other)
        try:
            return self._conversations.get(group_uuid=group_uuid, user=user) if group_uuid else None
        except ConversationNotFound:
            return None

    def _change_state(self, state: Conversation, user: User, blocks: bool, list_write: Write) -> None:
        def change(state: Conversation) -> Members:
            return {user.uuid: replace(state.members[user.uuid], blocks=blocks)}

        # If the pair guard names another conversation by now, the blocks belong there.
        group = {":group": {"S": state.group_uuid}}
        is_first = check(pair_key(*state.members), WriteRefused, when="group_uuid = :group", values=group)
        change_members(self._table, self._conversations, state, user, change, more_writes=[is_first, list_write])

    def _change_guard(self, user: User, other: User, blocks: bool, list_write: Write) -> None:
        key = pair_key(user.uuid, other.uuid)
        item = self._table.get(key) or {}
        if "group_uuid" in item:
            raise PairTaken(item)
        before = blockers_in(item)
        after = before | {user.uuid} if blocks else before - {user.uuid}
        if after == before:
            return
        when, values = (SAME_BLOCKS, {":blocks": item["blocks"]}) if before else (ABSENT, None)
        if after:
            guard = PairGuard((user.uuid, other.uuid), blocks=after)
            write = put(guard.to_item(), WriteRefused, when=when, values=values)
        else:
            write = delete(key, WriteRefused, when=when, values=values)
        self._table.transact([write, list_write])
