"""Loading whole conversations: messages by BatchWriteItem, then all the rest of a conversation in one transaction.

Messages are written past the version that every other write is conditional on. So a conversation must be the
loader's own until it is whole: nothing leads to it before its transaction, the one that starts every conversation
(`start_writes`), with the last message in it. An interrupted load leaves messages that nobody can see, and goes on
from there when it is run again: the same plan gives the same keys and the same items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from operator import itemgetter

from lib.clock import tick_after, to_timestamp
from lib.ddb import keys
from lib.ddb.conversations import Conversations
from lib.ddb.errors import StoreError, StoreUnavailable, WriteConflict
from lib.ddb.items import Conversation, Item, Member, Message, conversation_key, parse_message
from lib.ddb.table import WRITE_SECONDS, Table
from lib.ddb.transactions import KeyTaken, PairTaken, apply_message, start_writes
from lib.deadline import pause, tries
from lib.users.directory import User
from tools.seed.pipeline import Pipeline

_BATCH = 25  # items that BatchWriteItem takes

_THREADS = 4
_WINDOW = 2 * _THREADS  # batches that may be written beside each other
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
    """A conversation to be loaded. Its uuid is its own, and means these messages: lazily made, in the order of time."""

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
        """Load what is not there; how many messages were written. Memory does not grow with their number.

        `each` is told how many are done so far, those included that an interrupted run left behind. A conversation
        that is there already is passed over, whatever was written in it since. Raises ConversationRefused,
        StoreUnavailable, WriteConflict; ValueError for a sender who is no member.
        """
        with Pipeline(each, threads=_THREADS, window=_WINDOW) as pipeline:
            for conversation in conversations:
                self._load(conversation, pipeline)
            pipeline.drain()
            return pipeline.written

    def _load(self, conversation: NewConversation, pipeline: Pipeline) -> None:
        if self._is_whole(conversation):
            return
        batch: list[Message] = []
        latest: dict[str, tuple[int, Message]] = {}
        there, first_at = 0, ""
        for seq, message in _numbered(conversation):
            first_at = first_at or message.created_at
            latest[message.sender.uuid] = seq, message
            if seq == 2:  # from here on, messages are written before the transaction
                there = self._seq_there(conversation)
                pipeline.done += there
                del batch[:there]
            if seq > there:
                batch.append(message)
            if len(batch) > _BATCH:
                pipeline.submit(partial(self._put, batch[:_BATCH]))
                del batch[:_BATCH]
        if batch:
            *rest, last = batch
            if rest:
                pipeline.submit(partial(self._put, rest))
            state = _state(conversation, first_at, latest.values())
            pipeline.submit(partial(self._start, state, last, pipeline.running()))

    def _is_whole(self, conversation: NewConversation) -> bool:
        """Whether an earlier run ended with it. Raises ConversationRefused for a pair that talks elsewhere."""
        user, other = conversation.members
        group_uuid = self._pairs.find_by_pair(user, other)
        if group_uuid not in (None, conversation.group_uuid):
            raise ConversationRefused(
                f"{user.handle} and {other.handle} talk already, in {group_uuid}, and a pair has one conversation: "
                "nothing was added"
            )
        return group_uuid is not None

    def _seq_there(self, conversation: NewConversation) -> int:
        """Up to which message an interrupted run has written all. Raises ConversationRefused for a uuid of others."""
        group_uuid = conversation.group_uuid
        self._refuse_state(group_uuid)
        items, _ = self._table.newest(keys.message_pk(group_uuid), limit=1, before=None)
        if not items:
            return 0
        newest = parse_message(items[0], group_uuid=group_uuid)
        uuids = {user.uuid for user in conversation.members}
        if newest is None or newest.seq is None or newest.sender.uuid not in uuids:
            raise _others(group_uuid)
        # When a batch is begun, all but a window before it are written.
        return max(0, newest.seq - _WINDOW * _BATCH)

    def _refuse_state(self, group_uuid: str) -> None:
        """Raise ConversationRefused if there is a state: the pair's guard does not lead to it."""
        if self._table.get(conversation_key(group_uuid)):
            raise _others(group_uuid)

    def _put(self, messages: Sequence[Message]) -> int:
        """Write a batch; how many messages that were."""
        items: Sequence[Item] = [message.to_item() for message in messages]
        fruitless = 0
        while left := self._table.put_batch(items):
            fruitless = fruitless + 1 if len(left) == len(items) else 0
            if fruitless == _FRUITLESS_TRIES:
                raise StoreUnavailable("DynamoDB kept refusing a batch of messages for want of capacity")
            pause(fruitless + 1)
            items = left
        return len(messages)

    def _start(self, state: Conversation, last: Message, batches: Sequence[Future[int]]) -> int:
        """The last message, and with it the state, the guard and both rows, when all before it is written."""
        for batch in batches:
            batch.result()
        for _ in tries(WRITE_SECONDS):
            try:
                self._table.transact(start_writes(state, last))
            except PairTaken as taken:  # since this load began
                if taken.group_uuid != state.group_uuid:
                    raise ConversationRefused(f"The pair of {state.group_uuid} talks in {taken.group_uuid}") from taken
                return 0
            except KeyTaken:  # a member has a row of another conversation at the same microsecond
                self._refuse_state(state.group_uuid)
                at = tick_after(last.created_at)
                state, last = replace(state, last_message_at=at), replace(last, created_at=at)
            else:
                return 1
        raise WriteConflict


def _numbered(conversation: NewConversation) -> Iterator[tuple[int, Message]]:
    """The messages, each with its number, and later than the one before."""
    at, uuids = "", {user.uuid for user in conversation.members}
    for seq, new in enumerate(conversation.messages, start=1):
        if new.sender.uuid not in uuids:
            raise ValueError(f"{new.sender.uuid} is no member of the conversation {conversation.group_uuid}")
        given = to_timestamp(new.at)
        at = given if given > at else tick_after(at)
        yield seq, Message(conversation.group_uuid, at, new.uuid, new.text, new.sender, seq)


def _state(conversation: NewConversation, first_at: str, latest: Iterable[tuple[int, Message]]) -> Conversation:
    """The state after all messages. The latest of each sender tells: of those before it, only the number is left."""
    state = Conversation(
        group_uuid=conversation.group_uuid,
        members={user.uuid: Member(user, read_seq=0) for user in conversation.members},
        last_message_at="",
        seq=0,
        version=0,
        created_at=first_at,
    )
    for seq, message in sorted(latest, key=itemgetter(0)):
        state = apply_message(replace(state, seq=seq - 1, version=seq - 1), message)
    return state


def _others(group_uuid: str) -> ConversationRefused:
    return ConversationRefused(f"The conversation {group_uuid} is other people's: nothing was added")
