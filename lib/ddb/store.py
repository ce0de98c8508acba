"""The four access patterns (docs/data-model.md) on the table; A and B, the lists, are those of lib/ddb/lists.py.

The usual send is one transaction: it bets on the state that the process remembers. When another process was faster,
the refusal itself carries the current state. In stream mode it is the message alone, and the function on the table's
stream does D (lib/ddb/group_updates.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cachetools import LRUCache

from lib.cache import Memory
from lib.clock import Clock, now, tick_after, to_timestamp
from lib.config import ApiSettings
from lib.ddb import keys
from lib.ddb.conversations import ATTEMPTS
from lib.ddb.cursor import CursorSigner
from lib.ddb.errors import Contended, ConversationNotFound
from lib.ddb.items import Conversation, Member, Message
from lib.ddb.lists import MessageLists
from lib.ddb.receipts import Idempotency, Receipt, receipt_key, receipt_write
from lib.ddb.sending import KeyTaken, PairTaken, StateChanged, advanced, append_writes, start_writes
from lib.ddb.table import Table, Write, put
from lib.users import User

_REMEMBERED = 4_096


class MessageStore(MessageLists):
    """The conversations of one table; one a process, safe to share between threads.

    Every method raises StoreUnavailable. `clock` and `new_uuid` are replaced where the times and the names are
    given, as in seeding.
    """

    def __init__(
        self,
        table: Table,
        cursors: CursorSigner,
        *,
        clock: Clock = now,
        new_uuid: Callable[[], str] = lambda: str(uuid.uuid4()),
        feed_window: timedelta = timedelta(seconds=ApiSettings.feed_window_seconds),
    ) -> None:
        super().__init__(table, cursors, clock=clock, feed_window=feed_window)
        self._new_uuid = new_uuid
        self._groups: Memory[str, str] = Memory(LRUCache(_REMEMBERED))

    def send(self, *, group_uuid: str, sender: User, text: str, idempotency: Idempotency | None = None) -> Message:
        """Pattern C in an existing conversation, with D in the same transaction.

        Raises ConversationNotFound; AlreadySent; Contended when others kept writing. Each with nothing written.
        """
        with self.conversations.turn(group_uuid) as tries:
            state = self.conversations.known(group_uuid=group_uuid, user=sender)
            earliest = ""
            for _ in tries:
                message = self._next_message(state, sender, text, earliest)
                after = advanced(state, message)
                try:
                    self._table.transact(self._receipt(idempotency, message) + append_writes(state, after, message))
                except StateChanged as changed:
                    state = self.conversations.found(changed.item, group_uuid=group_uuid, user=sender)
                except KeyTaken:
                    earliest = tick_after(message.created_at)
                else:
                    self.conversations.remember(after)
                    return message
        raise Contended

    def send_to_user(
        self, *, sender: User, receiver: User, text: str, idempotency: Idempotency | None = None
    ) -> Message:
        """Pattern C by user: the pair's conversation gets the message, and is started if there is none.

        Raises AlreadySent, Contended, each with nothing written.
        """
        pair = keys.pair_pk(sender.uuid, receiver.uuid)
        if remembered := self._groups.get(pair):
            with suppress(ConversationNotFound):  # the table was made anew since
                return self.send(group_uuid=remembered, sender=sender, text=text, idempotency=idempotency)
        message = self._send_to_pair(sender, receiver, text, idempotency)
        self._groups.put(pair, message.group_uuid)
        return message

    def receipt(self, *, user: User, key: str) -> Receipt | None:
        """The receipt of what a user sent under an Idempotency-Key, while its time lasts."""
        item = self._table.get(receipt_key(user.uuid, key))
        receipt = Receipt.from_item(item) if item else None
        return receipt if receipt and receipt.expires_at > self._clock().timestamp() else None

    def _send_to_pair(self, sender: User, receiver: User, text: str, idempotency: Idempotency | None) -> Message:
        group_uuid = self.conversations.of_pair(sender, receiver)
        if group_uuid is None:
            try:
                return self._start(sender, receiver, text, idempotency)
            except PairTaken as taken:
                group_uuid = taken.group_uuid
        return self.send(group_uuid=group_uuid, sender=sender, text=text, idempotency=idempotency)

    def _start(self, sender: User, receiver: User, text: str, idempotency: Idempotency | None) -> Message:
        group_uuid, created_at = self._new_uuid(), to_timestamp(self._clock())
        for _ in range(ATTEMPTS):
            message = Message(group_uuid, created_at, self._new_uuid(), text, sender, seq=1)
            state = Conversation(
                group_uuid=group_uuid,
                members={sender.uuid: Member(sender, read_seq=1), receiver.uuid: Member(receiver, read_seq=0)},
                last_message_at=created_at,
                seq=1,
                version=1,
                created_at=created_at,
            )
            try:
                self._table.transact(self._receipt(idempotency, message) + start_writes(state, message))
            except KeyTaken:
                created_at = tick_after(created_at)
            else:
                self.conversations.remember(state)
                return message
        raise Contended

    def _receipt(self, idempotency: Idempotency | None, answer: Message) -> list[Write]:
        if idempotency is None:
            return []
        return [receipt_write(idempotency, answer, now=int(self._clock().timestamp()))]

    def _next_message(self, state: Conversation, sender: User, text: str, earliest: str) -> Message:
        # Later than the last message and than every key already tried, whatever this server's clock says.
        created_at = max(to_timestamp(self._clock()), tick_after(state.last_message_at), earliest)
        return Message(state.group_uuid, created_at, self._new_uuid(), text, sender, seq=state.seq + 1)


class StreamedMessageStore(MessageStore):
    """The conversations of one table whose stream has a function that does pattern D."""

    def __init__(self, table: Table, cursors: CursorSigner, **options: Any) -> None:
        super().__init__(table, cursors, **options)
        # The next message comes after this process's last one, whatever the clock and a state that lags behind say.
        self._earliest: Memory[str, str] = Memory(LRUCache(_REMEMBERED))

    def send(self, *, group_uuid: str, sender: User, text: str, idempotency: Idempotency | None = None) -> Message:
        """Pattern C in an existing conversation: the message alone, which has no `seq` yet.

        Raises ConversationNotFound; AlreadySent; Contended when every key was taken. Each with nothing written.
        """
        state = self.conversations.known(group_uuid=group_uuid, user=sender)
        earliest = self._earliest.get(group_uuid) or ""
        for _ in range(ATTEMPTS):
            message = replace(self._next_message(state, sender, text, earliest), seq=None)
            earliest = tick_after(message.created_at)
            if self._is_written(message, idempotency):
                self._earliest.put(group_uuid, earliest)
                return message
        raise Contended

    def _is_written(self, message: Message, idempotency: Idempotency | None) -> bool:
        """Write a message, unless its key is taken."""
        if idempotency is None:
            there = self._table.create(message.to_item())
            return there is None or there["message_uuid"]["S"] == message.uuid
        try:
            self._table.transact([*self._receipt(idempotency, message), put(message.to_item(), KeyTaken)])
        except KeyTaken:
            return False
        return True
