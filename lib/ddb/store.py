"""The four access patterns (docs/data-model.md) on the table; A and B, the lists, are those of lib/ddb/lists.py.

A send starts from the conversation's state, read or just written, and writes one transaction if it is unchanged. When
another process was faster, the refusal itself carries the current state. In stream mode a send is the message alone,
and the function on the table's stream does D (lib/ddb/group_updates.py).
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
from lib.ddb.cursor import CursorSigner
from lib.ddb.errors import Contended, ConversationNotFound, StoreError, Throttled, WriteRefused
from lib.ddb.items import Conversation, Member, Message, message_key
from lib.ddb.lists import MessageLists
from lib.ddb.receipts import Idempotency, Receipt, receipt_key, receipt_write
from lib.ddb.sending import KeyTaken, PairTaken, StateChanged, advanced, append_writes, start_writes
from lib.ddb.table import WRITE_SECONDS, Table, Write, put
from lib.deadline import deadline, pause, tries
from lib.users import User

_REMEMBERED = 4_096


class MessageStore(MessageLists):
    """The conversations of one table; one a process, safe to share between threads.

    Every method raises StoreUnavailable; the message may still have been written. A send has five seconds. Seeding
    replaces `clock` and `new_uuid` to choose times and ids.
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
        with self.conversations.lock(group_uuid):
            state = self.conversations.to_write(group_uuid=group_uuid, user=sender)
            message_uuid, earliest, uncertain = self._new_uuid(), "", list[Message]()
            for attempt in tries(WRITE_SECONDS):
                message = self._next_message(state, sender, text, message_uuid, earliest)
                after = advanced(state, message)
                try:
                    written = self._write(append_writes(state, after, message), message, idempotency, uncertain)
                except StateChanged as changed:
                    state = self.conversations.found(changed.item, group_uuid=group_uuid, user=sender)
                    refusal: StoreError = Contended()
                except KeyTaken:
                    earliest, refusal = tick_after(message.created_at), Contended()
                except (Contended, Throttled) as error:
                    refusal = error
                    pause(attempt)
                else:
                    self.conversations.remember_own(after)
                    return written
        raise refusal

    def send_to_user(
        self, *, sender: User, receiver: User, text: str, idempotency: Idempotency | None = None
    ) -> Message:
        """Pattern C by user: the pair's conversation gets the message, and is started if there is none.

        Raises AlreadySent, Contended, each with nothing written.
        """
        pair = keys.pair_pk(sender.uuid, receiver.uuid)
        with deadline(WRITE_SECONDS):
            if remembered := self._groups.get(pair):
                with suppress(ConversationNotFound):  # the table was recreated
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
        group_uuid, message_uuid, earliest, uncertain = self._new_uuid(), self._new_uuid(), "", list[Message]()
        for attempt in tries(WRITE_SECONDS):
            created_at = max(to_timestamp(self._clock()), earliest)
            message = Message(group_uuid, created_at, message_uuid, text, sender, seq=1)
            state = Conversation(
                group_uuid=group_uuid,
                members={sender.uuid: Member(sender, read_seq=1), receiver.uuid: Member(receiver, read_seq=0)},
                last_message_at=created_at,
                seq=1,
                version=1,
                created_at=created_at,
            )
            try:
                written = self._write(start_writes(state, message), message, idempotency, uncertain)
            except KeyTaken:
                earliest = tick_after(created_at)
                refusal: StoreError = Contended()
            except (Contended, Throttled) as error:
                refusal = error
                pause(attempt)
            else:
                self.conversations.remember_own(state)
                return written
        raise refusal

    def _write(
        self, writes: list[Write], message: Message, idempotency: Idempotency | None, uncertain: list[Message]
    ) -> Message:
        """Write a message, with a receipt if it has an idempotency key, and return what was written.

        `uncertain` has the message as earlier tries of the same send would have written it, if their answers were lost:
        after a refusal, one of those may be there.
        """
        if idempotency is not None:
            writes = [receipt_write(idempotency, message, now=int(self._clock().timestamp())), *writes]
        try:
            self._table.transact_once(writes)
        except WriteRefused as refused:
            if refused.uncertain:
                uncertain.append(message)
            for earlier in uncertain:
                if self._is_written(earlier):
                    return earlier
            raise
        return message

    def _is_written(self, message: Message) -> bool:
        item = self._table.get(message_key(message.group_uuid, message.created_at))
        return item is not None and item.get("message_uuid") == {"S": message.uuid}

    def _next_message(self, state: Conversation, sender: User, text: str, message_uuid: str, earliest: str) -> Message:
        # Later than the last message and than every key already tried, whatever this server's clock says.
        created_at = max(to_timestamp(self._clock()), tick_after(state.last_message_at), earliest)
        return Message(state.group_uuid, created_at, message_uuid, text, sender, seq=state.seq + 1)


class StreamedMessageStore(MessageStore):
    """The conversations of one table whose stream has a function that does pattern D."""

    def __init__(self, table: Table, cursors: CursorSigner, **options: Any) -> None:
        super().__init__(table, cursors, **options)
        # The next message comes after this process's last one, even if the clock or the cached state is behind.
        self._earliest: Memory[str, str] = Memory(LRUCache(_REMEMBERED))

    def send(self, *, group_uuid: str, sender: User, text: str, idempotency: Idempotency | None = None) -> Message:
        """Pattern C in an existing conversation: the message alone, which has no `seq` yet.

        Raises ConversationNotFound; AlreadySent; Contended when every key was taken. Each with nothing written.
        """
        message_uuid, earliest, uncertain = self._new_uuid(), self._earliest.get(group_uuid) or "", list[Message]()
        with deadline(WRITE_SECONDS):
            state = self.conversations.known(group_uuid=group_uuid, user=sender)
            for attempt in tries(WRITE_SECONDS):
                message = self._next_message(state, sender, text, message_uuid, earliest)
                message, earliest = replace(message, seq=None), tick_after(message.created_at)
                try:
                    written = self._write([put(message.to_item(), KeyTaken)], message, idempotency, uncertain)
                except KeyTaken:
                    refusal: StoreError = Contended()
                except (Contended, Throttled) as error:
                    refusal = error
                    pause(attempt)
                else:
                    self._earliest.put(group_uuid, earliest)
                    return written
        raise refusal
