"""The access patterns on the table (docs/data-model.md): A lists messages, B lists conversations, C writes a message.

In inline mode a send is one transaction: the message, and pattern D, the update of both inbox rows. Its condition is
that the conversation state has not changed since the server read it. If another write came first, DynamoDB refuses the
transaction and returns the current state. The server then tries again with that state. In stream mode a send writes
only the message, and the function on the table's stream does D (lib/ddb/sequence_numbers.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cachetools import LRUCache

from lib.cache.base import InMemoryCache
from lib.clock import Clock, normalized, now, tick_after, to_timestamp
from lib.config import ApiSettings
from lib.ddb import feed, keys
from lib.ddb.conversations import Conversations
from lib.ddb.cursors import CursorSigner
from lib.ddb.errors import ConversationNotFound, StoreError, StoreUnavailable, Throttled, WriteConflict, WriteRefused
from lib.ddb.feed import Changes, FeedPosition
from lib.ddb.idempotency import DuplicateRequest, Idempotency, Receipt, receipt_key, receipt_write
from lib.ddb.inbox_rows import repair_rows, rows_of_member
from lib.ddb.items import (
    Conversation,
    InboxRow,
    Item,
    LateUpdates,
    Member,
    Message,
    inbox_row_key,
    message_key,
    parse_item,
    parse_message,
)
from lib.ddb.queries import Page, PageReader
from lib.ddb.table import WRITE_SECONDS, Table, Write, put
from lib.ddb.transactions import (
    KeyTaken,
    LinkedStateChanged,
    PairTaken,
    RowChanged,
    StateChanged,
    append_writes,
    apply_message,
    check_state,
    refusal_by_block,
    start_writes,
)
from lib.deadline import deadline, pause, tries
from lib.users.accounts import User

_CACHED_ENTRIES = 4_096
_ROW_READS = 3  # a row moves with each message, so the first read may miss it
_BEGINNING = to_timestamp(datetime.min.replace(tzinfo=UTC))


def _require_first(state: Conversation) -> None:
    """Raise PairTaken if the two members' messages by handle go to another conversation."""
    if state.pair_group_uuid:
        raise PairTaken({"group_uuid": {"S": state.pair_group_uuid}})


@dataclass(frozen=True, slots=True)
class Proposal:
    """A message, the writes that store it, and the conversation state after them.

    `state` is None if the writes do not change the conversation state.
    """

    message: Message
    writes: list[Write]
    state: Conversation | None = None


class MessageStore:
    """The conversations of one table. A process has one store; its threads share it.

    Every method raises StoreUnavailable. If `send` raises it, the message may be in the table. A send has five seconds.
    The store calls `on_update` with the new state after each send that updates the inbox rows, and after each that may
    have done so: if the outcome is unknown, or if a repetition finds the message in the table. Seeding passes its own
    `clock` and `new_uuid` to choose times and ids.
    """

    def __init__(
        self,
        table: Table,
        cursors: CursorSigner,
        *,
        clock: Clock = now,
        new_uuid: Callable[[], str] = lambda: str(uuid.uuid4()),
        feed_window: timedelta = timedelta(seconds=ApiSettings.feed_window_seconds),
        on_update: Callable[[Conversation], None] = lambda _: None,
    ) -> None:
        self._table = table
        self._messages = PageReader(table, cursors, Message.from_item)
        self._cursors = cursors
        self._clock = clock
        self._feed_window = feed_window
        self.conversations = Conversations(table)
        self._new_uuid = new_uuid
        self._on_update = on_update
        self._group_by_pair: InMemoryCache[str, str] = InMemoryCache(LRUCache(_CACHED_ENTRIES))

    def list_messages(
        self,
        *,
        group_uuid: str,
        user: User,
        limit: int,
        cursor: str | None = None,
        before: str | None = None,
        after: str | None = None,
        around: str | None = None,
    ) -> Page[Message]:
        """Pattern A: a page of a conversation, newest first.

        At most one of `cursor`, `before`, `after` and `around` chooses the page; without one, it is the newest page.
        The last three are times of ISO 8601, in UTC if they have no offset. Raises ConversationNotFound, CursorInvalid.
        """
        self.conversations.cached(group_uuid=group_uuid, user=user)
        now, pk = self._clock(), keys.message_pk(group_uuid)
        if around is not None:
            page = self._messages.around(pk, limit, self._sort_key(group_uuid, around))
        elif after is not None:
            page = self._messages.after(pk, limit, self._sort_key(group_uuid, after))
        elif before is not None:
            page = self._messages.before(pk, limit, self._sort_key(group_uuid, before))
        else:
            page = self._messages.newest(pk, limit, cursor)
        if cursor is not None:
            return page
        position = feed.after_messages(page.items, now=now, window=self._feed_window)
        return replace(page, feed_cursor=self._feed_cursor(user.uuid, position))

    def list_inbox(self, *, user_uuid: str, limit: int, cursor: str | None = None) -> Page[InboxRow]:
        """Pattern B: a page of a user's conversations, newest first. Raises CursorInvalid."""
        now, count = self._clock(), 0

        def parse(item: Item) -> InboxRow | None:
            nonlocal count
            if item["sk"]["S"] != keys.LATE_UPDATES:
                return InboxRow.from_item(item)
            count = LateUpdates.from_item(item).count
            return None

        reader = PageReader(self._table, self._cursors, parse, other_items=1 if cursor is None else 0)
        page = reader.newest(keys.inbox_pk(user_uuid), limit, cursor)
        if cursor is not None:
            return page
        position = feed.after_inbox(page.items, now=now, window=self._feed_window, late_updates=count)
        return replace(page, feed_cursor=self._feed_cursor(user_uuid, position))

    def find_inbox_row(self, *, user: User, other: User) -> InboxRow | None:
        """A user's inbox row of the conversation with another user; None if they have none."""
        group_uuid = self.conversations.find_by_pair(user, other)
        if group_uuid is None:
            return None
        for _ in range(_ROW_READS):
            try:
                state = self.conversations.get(group_uuid=group_uuid, user=user)
            except ConversationNotFound:
                return None
            item = self._table.get(inbox_row_key(user.uuid, state.last_message_at))
            row = parse_item(item, InboxRow.from_item) if item else None
            if row and row.group_uuid == group_uuid:
                return row
        rows = rows_of_member(self._table, user.uuid, group_uuid)
        return max(rows, key=lambda row: row.last_message_at, default=None)

    def list_changed(self, *, user_uuid: str, limit: int, since: str) -> Page[InboxRow]:
        """The conversations that changed after the feed cursor `since`, oldest change first.

        Raises CursorInvalid, FeedGap.
        """
        changes = self._read_feed(user_uuid, limit, since)
        feed_cursor = self._feed_cursor(user_uuid, changes.position_after(len(changes.rows)))
        return Page(changes.rows, {"since": feed_cursor} if changes.more else None, feed_cursor=feed_cursor)

    def changes_with_cursors(
        self, *, user_uuid: str, limit: int, since: str
    ) -> tuple[list[tuple[InboxRow, str]], str, bool]:
        """Like `list_changed`: the rows, each with the cursor after it; the last cursor; and whether there are more."""
        changes = self._read_feed(user_uuid, limit, since)
        counts = range(1, len(changes.rows) + 1) if changes.rows else [0]
        cursors = [self._feed_cursor(user_uuid, changes.position_after(count)) for count in counts]
        return list(zip(changes.rows, cursors, strict=False)), cursors[-1], changes.more

    def message_at(self, *, group_uuid: str, created_at: str) -> Message | None:
        """The message with exactly this time."""
        item = self._table.get(message_key(group_uuid, created_at))
        return parse_message(item) if item else None

    def find_message(self, *, group_uuid: str, time: str) -> Message | None:
        """The message of a conversation at this time, or None. `time` is in ISO 8601, in UTC if it has no offset."""
        return self.message_at(group_uuid=group_uuid, created_at=self._sort_key(group_uuid, time))

    def send(
        self,
        *,
        group_uuid: str,
        sender: User,
        text: str,
        idempotency: Idempotency | None = None,
        of_pair: bool = False,
    ) -> Message:
        """Pattern C in an existing conversation, with D in the same transaction.

        With `of_pair`, raises PairTaken if the state names another conversation for messages by handle. Raises
        ConversationNotFound, ReceiverBlocked, ReceiverUnavailable, DuplicateRequest and WriteConflict. All errors come
        with nothing written.
        """
        with self.conversations.lock(group_uuid):
            state = self.conversations.read_for_write(group_uuid=group_uuid, user=sender)
            message_uuid = self._new_uuid()

            def propose(earliest: str, refused: WriteRefused | None) -> Proposal:
                nonlocal state
                if isinstance(refused, StateChanged):
                    state = self.conversations.from_item(refused.item, group_uuid=group_uuid, user=sender)
                elif isinstance(refused, RowChanged):
                    state = repair_rows(self._table, state, replace(state, version=state.version + 1))
                elif state.blockers:  # a cached state may be older than an unblock
                    state = self.conversations.get(group_uuid=group_uuid, user=sender)
                if of_pair:
                    _require_first(state)
                checks = self._check_blocks(state, sender)
                message = self._next_message(state, sender, text, message_uuid, earliest)
                after = apply_message(state, message)
                return Proposal(message, [*append_writes(state, after, message), *checks], after)

            return self._write(propose, idempotency)

    def send_to_user(
        self,
        *,
        sender: User,
        receiver: User,
        text: str,
        idempotency: Idempotency | None = None,
        before_first: Callable[[], None] = lambda: None,
    ) -> Message:
        """Pattern C by user: write to the conversation of the two users, or start it with this message.

        If two users have two conversations, the pair guard decides. The condition of the write ensures that the state
        is current, so a cached conversation costs no read of the guard. Before the message starts a conversation, the
        store calls `before_first`, which may refuse it by an error. Raises ReceiverBlocked, ReceiverUnavailable,
        DuplicateRequest and WriteConflict, all with nothing written.
        """
        pair = keys.pair_pk(sender.uuid, receiver.uuid)
        with deadline(WRITE_SECONDS):
            try:
                group_uuid = self._cached_group(pair) or self._find_group(sender, receiver, before_first)
                message = self._send_to_pair(group_uuid, sender, receiver, text, idempotency, of_pair=True)
            except (ConversationNotFound, PairTaken):  # the cache is stale, or another process has just migrated
                group_uuid = self._find_group(sender, receiver, before_first)
                message = self._send_to_pair(group_uuid, sender, receiver, text, idempotency, of_pair=False)
        self._group_by_pair.put(pair, message.group_uuid)
        return message

    def receipt(self, *, user: User, key: str) -> Receipt | None:
        """The receipt of a user's send under an Idempotency-Key, unless it has expired."""
        item = self._table.get(receipt_key(user.uuid, key))
        receipt = Receipt.from_item(item) if item else None
        return receipt if receipt and receipt.expires_at > self._clock().timestamp() else None

    def _check_blocks(self, state: Conversation, sender: User) -> list[Write]:
        """Raise ReceiverBlocked or ReceiverUnavailable if a member blocks the other one; `state` is current.

        Returns the condition that the conversation which `pair_group_uuid` names, if any, does not change.
        """
        first = self.conversations.linked(state)
        if blockers := state.blockers | (first.blockers if first else frozenset()):
            raise refusal_by_block(blockers, sender.uuid)
        return [check_state(first)] if first else []

    def _find_group(self, sender: User, receiver: User, before_first: Callable[[], None]) -> str | None:
        """The conversation of the two users; None if this message shall start it."""
        group_uuid, blockers = self.conversations.find_pair(sender, receiver)
        if group_uuid is None:
            if blockers:  # before the count of first contacts, which would tell a block from another refusal
                raise refusal_by_block(blockers, sender.uuid)
            before_first()
        return group_uuid

    def _cached_group(self, pair: str) -> str | None:
        return self._group_by_pair.get(pair)

    def _send_to_pair(
        self,
        group_uuid: str | None,
        sender: User,
        receiver: User,
        text: str,
        idempotency: Idempotency | None,
        *,
        of_pair: bool,
    ) -> Message:
        if group_uuid is None:
            try:
                return self._start(sender, receiver, text, idempotency)
            except PairTaken as taken:
                group_uuid, of_pair = taken.group_uuid, False
        return self.send(group_uuid=group_uuid, sender=sender, text=text, idempotency=idempotency, of_pair=of_pair)

    def _start(self, sender: User, receiver: User, text: str, idempotency: Idempotency | None) -> Message:
        members = {user.uuid: Member(user, read_seq=0, last_seq=0) for user in (sender, receiver)}
        empty = Conversation(self._new_uuid(), members, last_message_at=_BEGINNING, seq=0, version=0, created_at="")
        message_uuid = self._new_uuid()

        def propose(earliest: str, _: WriteRefused | None) -> Proposal:
            message = self._next_message(empty, sender, text, message_uuid, earliest)
            state = replace(apply_message(empty, message), created_at=message.created_at)
            return Proposal(message, start_writes(state, message), state)

        return self._write(propose, idempotency)

    def _write(
        self, propose: Callable[[str, WriteRefused | None], Proposal], idempotency: Idempotency | None
    ) -> Message:
        """Write the proposal of `propose`, and a receipt if there is an idempotency key; return the message.

        Calls `propose(earliest, refused)` before each try. `earliest` is the earliest `created_at` that the message may
        have. `refused` is StateChanged or RowChanged if that refused the last try, else None. When the time is over,
        raises WriteConflict or Throttled, with nothing written, or StoreUnavailable.
        """
        earliest, refused = "", None
        uncertain: list[Message] = []
        refusal: StoreError
        for attempt in tries(WRITE_SECONDS):
            try:
                proposal = propose(earliest, refused)
                refused = None
                return self._apply(proposal, idempotency, uncertain)
            except (StateChanged, RowChanged) as changed:
                refused, refusal = changed, WriteConflict()
            except KeyTaken:
                earliest, refusal = tick_after(proposal.message.created_at), WriteConflict()
            except LinkedStateChanged:
                refusal = WriteConflict()
            except (WriteConflict, Throttled) as error:
                refusal = error
                pause(attempt)
        if uncertain:
            raise StoreUnavailable("the outcome of the write is unknown") from refusal
        raise refusal

    def _apply(self, proposal: Proposal, idempotency: Idempotency | None, uncertain: list[Message]) -> Message:
        """Write a proposal, and return the message that the table has.

        `uncertain` has the messages of proposals whose outcome is unknown. If DynamoDB refuses this proposal, one of
        these messages may be in the table.
        """
        writes = proposal.writes
        if idempotency is not None:
            writes = [receipt_write(idempotency, proposal.message, now=int(self._clock().timestamp())), *writes]
        try:
            self._table.transact(writes, retry_conflicts=False)
        except WriteRefused as refused:
            if refused.uncertain:
                uncertain.append(proposal.message)
            message = next(filter(self._is_written, uncertain), None)
            if message or isinstance(refused, DuplicateRequest):
                self._note_update(proposal)
            if message:
                return message
            raise
        except StoreUnavailable as error:
            if not isinstance(error, Throttled):  # the message may be in the table
                self._note_update(proposal)
            raise
        if proposal.state is not None:
            self.conversations.put_own(proposal.state)
        self._note_update(proposal)
        return proposal.message

    def _note_update(self, proposal: Proposal) -> None:
        if proposal.state is not None:
            self._on_update(proposal.state)

    def _sort_key(self, group_uuid: str, time: str) -> str:
        """A time as a sort key: in the table's format, unless an old message of the conversation has this very key."""
        key = normalized(time)
        if time != key and self.message_at(group_uuid=group_uuid, created_at=time):
            return time
        return key

    def _read_feed(self, user_uuid: str, limit: int, since: str) -> Changes:
        now, pk = self._clock(), keys.inbox_pk(user_uuid)
        position = FeedPosition.from_payload(self._cursors.verify("feed", since, pk=pk))
        return feed.read(self._table, pk, position, limit=limit, now=now, window=self._feed_window)

    def _feed_cursor(self, user_uuid: str, position: FeedPosition) -> str:
        return self._cursors.sign("feed", position.to_payload(), pk=keys.inbox_pk(user_uuid))

    def _is_written(self, message: Message) -> bool:
        stored = self.message_at(group_uuid=message.group_uuid, created_at=message.created_at)
        return stored is not None and stored.uuid == message.uuid

    def _next_message(self, state: Conversation, sender: User, text: str, message_uuid: str, earliest: str) -> Message:
        # Later than the last message and than the keys of all earlier tries, even if this server's clock is behind.
        created_at = max(to_timestamp(self._clock()), tick_after(state.last_message_at), earliest)
        return Message(state.group_uuid, created_at, message_uuid, text, sender, seq=state.seq + 1)


class StreamedMessageStore(MessageStore):
    """The conversations of one table in stream mode: the function on the table's stream does pattern D."""

    def __init__(self, table: Table, cursors: CursorSigner, **options: Any) -> None:
        super().__init__(table, cursors, **options)
        # The earliest time of a conversation's next message: after this process's last message there.
        self._earliest: InMemoryCache[str, str] = InMemoryCache(LRUCache(_CACHED_ENTRIES))

    def send(
        self,
        *,
        group_uuid: str,
        sender: User,
        text: str,
        idempotency: Idempotency | None = None,
        of_pair: bool = False,
    ) -> Message:
        """Pattern C in an existing conversation: the message alone, without `seq`. Raises the errors of inline mode.

        A block between the read of the state and the write does not stop the message.
        """
        message_uuid, own_earliest = self._new_uuid(), self._earliest.get(group_uuid) or ""

        def propose(earliest: str, _: WriteRefused | None) -> Proposal:
            message = self._next_message(state, sender, text, message_uuid, max(own_earliest, earliest))
            message.seq = None
            self._earliest.put(group_uuid, tick_after(message.created_at))
            return Proposal(message, [put(message.to_item(), KeyTaken)])

        with deadline(WRITE_SECONDS):
            state = self.conversations.get(group_uuid=group_uuid, user=sender)
            if of_pair:
                _require_first(state)
            self._check_blocks(state, sender)
            return self._write(propose, idempotency)

    def _cached_group(self, pair: str) -> None:
        """None, so that every message by handle reads the pair guard: its write has no condition on the state."""
