"""Loads whole conversations: all messages but the last by BatchWriteItem, then the other items in one transaction.

Unlike all other writes, the batches do not check the conversation's version. So a user sees a conversation only after
its transaction (`start_writes`), which writes the last message, the state, the pair guard and both inbox rows. An
interrupted load leaves messages that nobody sees. The next load of the same conversation writes the same items, and so
completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from lib.clock import tick_after, to_timestamp
from lib.ddb import keys
from lib.ddb.conversations import Conversations
from lib.ddb.errors import StoreError, StoreUnavailable, WriteConflict
from lib.ddb.items import Conversation, Item, Member, Message, conversation_key, parse_message
from lib.ddb.table import WRITE_SECONDS, Table
from lib.ddb.transactions import KeyTaken, PairTaken, apply_message, start_writes
from lib.deadline import pause, tries
from lib.users.accounts import User

_BATCH = 25  # the most items of a BatchWriteItem
_THREADS = 4
_WINDOW = 8  # batches; the loader starts a window when the previous one is written
_FRUITLESS_TRIES = 50


class ConversationRefused(StoreError):
    """The conversation cannot be loaded; the message says why."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to load."""

    uuid: str
    sent_at: datetime
    sender: User
    text: str


@dataclass(frozen=True, slots=True)
class NewConversation:
    """A conversation to load. `messages` may be a generator, oldest first; a uuid always has the same messages."""

    group_uuid: str
    members: tuple[User, User]
    messages: Iterable[NewMessage]


class BulkLoader:
    """Loads into one table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._conversations = Conversations(table)

    def load(
        self, conversations: Iterable[NewConversation], *, on_progress: Callable[[int], object] = lambda done: None
    ) -> int:
        """Load the missing conversations; return how many messages were written. Keeps few messages in memory.

        `on_progress` gets the number of messages in the table, including those of an interrupted load. The loader
        skips a conversation that is complete, and keeps what users have written in it. Raises ConversationRefused,
        StoreUnavailable, WriteConflict; ValueError for a sender who is not a member.
        """
        done = skipped = 0
        with ThreadPoolExecutor(_THREADS) as threads:
            for conversation in conversations:
                if self._is_complete(conversation):
                    continue
                existing = self._existing(conversation)
                if existing is None:
                    continue
                done, skipped = done + existing, skipped + existing
                for count in self._load(conversation, existing, threads):
                    done += count
                    on_progress(done)
        return done - skipped

    def _load(self, conversation: NewConversation, existing: int, threads: ThreadPoolExecutor) -> Iterator[int]:
        """Write all messages but the first `existing`; yield step by step how many were written."""
        members = {user.uuid: Member(user, read_seq=0, last_seq=0) for user in conversation.members}
        state = Conversation(conversation.group_uuid, members, "", seq=0, version=0, created_at="")
        window: list[Message] = []
        for message in _messages(conversation):
            if len(window) == _WINDOW * _BATCH:
                yield from threads.map(self._put, _batches(window))
                window = []
            if not state.created_at:
                state = replace(state, created_at=message.created_at)
            state = apply_message(state, message)
            if state.seq > existing:
                window.append(message)
        if window:
            *others, last = window
            yield from threads.map(self._put, _batches(others))
            self._start(state, last)
            yield 1

    def _is_complete(self, conversation: NewConversation) -> bool:
        """Whether an earlier load completed it. Raises ConversationRefused if the pair has another conversation."""
        user, other = conversation.members
        group_uuid = self._conversations.find_by_pair(user, other)
        if group_uuid not in (None, conversation.group_uuid):
            raise ConversationRefused(
                f"{user.handle} and {other.handle} already have the conversation {group_uuid}, "
                "and two users have only one: nothing was added"
            )
        return group_uuid is not None

    def _existing(self, conversation: NewConversation) -> int | None:
        """The number of first messages that an interrupted load has certainly written; None if another has ended now.

        Raises ConversationRefused if the newest message is not one of a load, or if the conversation has a state and
        this pair no guard: then the state belongs to others.
        """
        group_uuid, uuids = conversation.group_uuid, {user.uuid for user in conversation.members}
        items, _ = self._table.newest(keys.message_pk(group_uuid), limit=1, before=None)
        newest = parse_message(items[0]) if items else None
        seq = newest.seq if newest and newest.sender.uuid in uuids else None
        has_state = self._table.get(conversation_key(group_uuid)) is not None
        if has_state and self._is_complete(conversation):
            return None
        if has_state or (items and seq is None):
            raise ConversationRefused(f"The conversation {group_uuid} belongs to other users: nothing was added")
        # All windows before the newest message's are written.
        return max(0, (seq or 0) - _WINDOW * _BATCH)

    def _put(self, messages: Sequence[Message]) -> int:
        items: Sequence[Item] = [message.to_item() for message in messages]
        fruitless = 0
        while unprocessed := self._table.put_batch(items):
            fruitless = fruitless + 1 if len(unprocessed) == len(items) else 0
            if fruitless == _FRUITLESS_TRIES:
                raise StoreUnavailable(f"DynamoDB had no capacity for a batch of messages in {fruitless} tries")
            pause(fruitless + 1)
            items = unprocessed
        return len(messages)

    def _start(self, state: Conversation, last: Message) -> None:
        """Write the last message with the state, the guard and both rows, unless another load has done so."""
        for _ in tries(WRITE_SECONDS):
            try:
                return self._table.transact(start_writes(state, last))
            except PairTaken as taken:  # since this load began
                if taken.group_uuid == state.group_uuid:
                    return None
                raise ConversationRefused(
                    f"During the load of the conversation {state.group_uuid} its two users started another one, "
                    f"{taken.group_uuid}: nobody sees the loaded messages"
                ) from taken
            except KeyTaken:  # a member has a row of another conversation at the same microsecond
                created_at = tick_after(last.created_at)
                state, last = replace(state, last_message_at=created_at), replace(last, created_at=created_at)
        raise WriteConflict


def _messages(conversation: NewConversation) -> Iterator[Message]:
    """The messages with their numbers, each later than the one before."""
    created_at, uuids = "", {user.uuid for user in conversation.members}
    for seq, new in enumerate(conversation.messages, start=1):
        if new.sender.uuid not in uuids:
            raise ValueError(f"{new.sender.uuid} is not a member of the conversation {conversation.group_uuid}")
        created_at = max(to_timestamp(new.sent_at), tick_after(created_at) if created_at else "")
        yield Message(conversation.group_uuid, created_at, new.uuid, new.text, new.sender, seq)


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for start in range(0, len(messages), _BATCH):
        yield messages[start : start + _BATCH]
