"""Load whole conversations: messages by BatchWriteItem, then the rest of a conversation in one transaction.

Messages are written past the version that every other write is conditional on. So nothing leads to a conversation
before its transaction, which holds the last message and is the one that starts every conversation (`start_writes`). An
interrupted load leaves messages that nobody can see. The next load of the same plan continues it: it gives the same
keys and the same items.
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
from lib.users.directory import User

_BATCH = 25  # the most items of a BatchWriteItem
_THREADS = 4
_WINDOW = 8  # batches; the loader begins a window after the one before is written
_FRUITLESS_TRIES = 50


class ConversationRefused(StoreError):
    """The conversation cannot be loaded; the message says why."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be loaded."""

    uuid: str
    at: datetime
    sender: User
    text: str


@dataclass(frozen=True, slots=True)
class NewConversation:
    """A conversation to be loaded. Its uuid stands for these messages, which are made lazily, oldest first."""

    group_uuid: str
    members: tuple[User, User]
    messages: Iterable[NewMessage]


class BulkLoader:
    """Loads into one table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._pairs = Conversations(table)

    def load(
        self, conversations: Iterable[NewConversation], *, each: Callable[[int], object] = lambda done: None
    ) -> int:
        """Load the missing conversations; return how many messages were written. Memory does not grow with them.

        `each` gets the number of messages that are done, with those of an interrupted load. The loader passes over an
        existing conversation, with all that was written in it since. Raises ConversationRefused, StoreUnavailable,
        WriteConflict; ValueError for a sender who is no member.
        """
        done = written = 0
        with ThreadPoolExecutor(_THREADS) as threads:
            for conversation in conversations:
                for passed, new in self._load(conversation, threads):
                    done, written = done + passed, written + new
                    each(done)
        return written

    def _load(self, conversation: NewConversation, threads: ThreadPoolExecutor) -> Iterator[tuple[int, int]]:
        """Yield step by step how many messages are done, and how many of them this load has written."""
        if self._is_whole(conversation):
            return
        group_uuid, existing, state = conversation.group_uuid, 0, None
        window: list[Message] = []
        for message in _messages(conversation):
            if state is None:
                members = {user.uuid: Member(user, read_seq=0) for user in conversation.members}
                state = Conversation(group_uuid, members, "", seq=0, version=0, created_at=message.created_at)
            elif state.seq == 1:  # the loader writes the first messages before the transaction
                existing = self._existing(conversation)
                del window[:existing]
                if existing:
                    yield existing, 0
            if len(window) == _WINDOW * _BATCH:
                yield from self._put_all(window, threads)
                window = []
            state = apply_message(state, message)
            if state.seq > existing:
                window.append(message)
        if state:
            *others, last = window
            yield from self._put_all(others, threads)
            yield 1, self._start(state, last)

    def _is_whole(self, conversation: NewConversation) -> bool:
        """Whether an earlier load finished it. Raises ConversationRefused for a pair with another conversation."""
        user, other = conversation.members
        group_uuid = self._pairs.find_by_pair(user, other)
        if group_uuid not in (None, conversation.group_uuid):
            raise ConversationRefused(
                f"{user.handle} and {other.handle} talk already, in {group_uuid}, and a pair has one conversation: "
                "nothing was added"
            )
        return group_uuid is not None

    def _existing(self, conversation: NewConversation) -> int:
        """How many of the first messages an interrupted load has written. Raises ConversationRefused."""
        group_uuid = conversation.group_uuid
        self._refuse_state(group_uuid)
        items, _ = self._table.newest(keys.message_pk(group_uuid), limit=1, before=None)
        if not items:
            return 0
        newest = parse_message(items[0], group_uuid=group_uuid)
        uuids = {user.uuid for user in conversation.members}
        if newest is None or newest.seq is None or newest.sender.uuid not in uuids:
            raise _others(group_uuid)
        # All windows before the newest message's are written.
        return max(0, newest.seq - _WINDOW * _BATCH)

    def _refuse_state(self, group_uuid: str) -> None:
        """Raise ConversationRefused for a state to which the pair's guard does not lead."""
        if self._table.get(conversation_key(group_uuid)):
            raise _others(group_uuid)

    def _put_all(self, messages: Sequence[Message], threads: ThreadPoolExecutor) -> Iterator[tuple[int, int]]:
        batches = [messages[start : start + _BATCH] for start in range(0, len(messages), _BATCH)]
        for count in threads.map(self._put, batches):
            yield count, count

    def _put(self, messages: Sequence[Message]) -> int:
        items: Sequence[Item] = [message.to_item() for message in messages]
        fruitless = 0
        while left := self._table.put_batch(items):
            fruitless = fruitless + 1 if len(left) == len(items) else 0
            if fruitless == _FRUITLESS_TRIES:
                raise StoreUnavailable("DynamoDB kept refusing a batch of messages: too little capacity")
            pause(fruitless + 1)
            items = left
        return len(messages)

    def _start(self, state: Conversation, last: Message) -> int:
        """Write the last message with the state, the guard and both rows; 0 if another load was faster."""
        for _ in tries(WRITE_SECONDS):
            try:
                self._table.transact(start_writes(state, last))
            except PairTaken as taken:  # since this load began
                if taken.group_uuid != state.group_uuid:
                    raise ConversationRefused(f"The pair uses {taken.group_uuid}, not {state.group_uuid}") from taken
                return 0
            except KeyTaken:  # a member has a row of another conversation at the same microsecond
                self._refuse_state(state.group_uuid)
                at = tick_after(last.created_at)
                state, last = replace(state, last_message_at=at), replace(last, created_at=at)
            else:
                return 1
        raise WriteConflict


def _messages(conversation: NewConversation) -> Iterator[Message]:
    """The messages with their numbers, each later than the one before."""
    created_at, uuids = "", {user.uuid for user in conversation.members}
    for seq, new in enumerate(conversation.messages, start=1):
        if new.sender.uuid not in uuids:
            raise ValueError(f"{new.sender.uuid} is no member of the conversation {conversation.group_uuid}")
        created_at = max(to_timestamp(new.at), tick_after(created_at) if created_at else "")
        yield Message(conversation.group_uuid, created_at, new.uuid, new.text, new.sender, seq)


def _others(group_uuid: str) -> ConversationRefused:
    return ConversationRefused(f"The conversation {group_uuid} has other members: nothing was added")
