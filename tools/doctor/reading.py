"""One conversation as it is now, for another look at what the survey suspects.

A conversation's state and rows are read at one instant (TransactGetItems), and its messages after that. What is
written meanwhile is told from what is wrong by the state, which is read once more at the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from lib.clock import Clock, from_timestamp
from lib.ddb import keys
from lib.ddb.errors import WriteConflict, translate_errors
from lib.ddb.items import Conversation, Item, Key, Message, conversation_key, inbox_row_key, key_of, pair_key
from lib.ddb.migration import indexed
from lib.ddb.table import WRITE_SECONDS, Table
from lib.deadline import pause, tries
from tools.doctor.shapes import GROUP, counts, kind_of, problems, readable, text, whole

PENDING = timedelta(minutes=1)
"""So long a message of stream mode may wait for its number before that is wrong."""

_LOOKS = 3
_ITEMS_A_PAGE = 1_000
_KEYS_AT_ONCE = 25  # AWS takes 100, emulators as many as AWS once did
_SHOWN = 10  # keys named by a finding that concerns many items


@dataclass(slots=True)
class Messages:
    """What a conversation's messages tell, in the order of their keys; 8 bytes for each."""

    seqs: array[int] = field(default_factory=lambda: array("q"))
    """Their numbers, 0 where there is none."""
    newest: Item | None = None
    newest_numbered: Item | None = None
    first_late: Message | None = None
    last_late: Message | None = None
    late: list[Item] = field(default_factory=list)
    strangers: list[Item] = field(default_factory=list)
    sample: list[Item] = field(default_factory=list)
    senders: dict[str, Item] = field(default_factory=dict)

    def add(self, item: Item, *, group_uuid: str, members: Container[str | None] | None) -> None:
        seq, sender = whole(item, "seq"), text(item, "user_uuid")
        self.seqs.append(seq or 0)
        self.newest = item
        if seq is None:
            self.last_late = Message.from_item(item, group_uuid=group_uuid)
            self.first_late = self.first_late or self.last_late
        if seq is not None:
            self.newest_numbered = item
        elif len(self.late) < _SHOWN:
            self.late.append(item)
        if members is not None and sender not in members and len(self.strangers) < _SHOWN:
            self.strangers.append(item)
        if len(self.sample) < _SHOWN:
            self.sample.append(item)
        if sender and len(self.senders) < _SHOWN:
            self.senders.setdefault(sender, item)


@dataclass(frozen=True, slots=True)
class Reading:
    """A conversation as it was at one instant; `item` is its state as stored, None if it has none.

    One that is not `settled` got a message while it was looked for, so its rows were not read where they belong: that
    they are there and right is sure, because each message writes both. Rows that were seen elsewhere are surplus.
    """

    group_uuid: str
    item: Item | None
    rows: list[Item]
    messages: Messages
    settled: bool = True

    @property
    def legible(self) -> bool:
        """Whether the state, if there is one, can be read; where it cannot, nothing else was."""
        return self.item is None or readable(self.item)

    @property
    def state(self) -> Conversation | None:
        return Conversation.from_item(self.item, group_uuid=self.group_uuid) if self.item and self.legible else None

    @property
    def members(self) -> list[str]:
        """Who talks here: by the state, else by the rows."""
        if state := self.state:
            return sorted(state.members)
        named = {name for row in self.rows for name in (keys.inbox_owner(row["pk"]["S"]), text(row, "user_uuid"))}
        return sorted(name for name in named if name)


class Reader:
    """Reads of one table; safe to share between threads. Every method raises StoreUnavailable."""

    def __init__(self, client: Any, table: Table, *, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def pages_of_group(self, group_uuid: str) -> Iterator[list[Item]]:
        """What there is of one conversation: its state, guard and rows, and its messages."""
        rows = self._indexed(group_uuid)
        state = self._table.get(conversation_key(group_uuid))
        pair = sorted((state or {}).get("members", {}).get("M", {}))
        guard = self._table.get(pair_key(*pair)) if len(pair) == 2 else None
        yield [item for item in (*rows, state, guard) if item]
        page: list[Item] = []
        for item in self.messages(group_uuid):
            page.append(item)
            if len(page) == _ITEMS_A_PAGE:
                yield page
                page = []
        yield page

    def item(self, key: Key) -> Item | None:
        return self._table.get({"pk": {"S": key[0]}, "sk": {"S": key[1]}})

    def messages(self, group_uuid: str) -> Iterator[Item]:
        """A conversation's messages, the oldest first."""
        return self._table.partition(keys.message_pk(group_uuid))

    def inbox(self, owner_uuid: str, *, other_uuid: str) -> Iterator[Item]:
        """A user's rows of conversations with another."""
        return self._table.partition(
            keys.inbox_pk(owner_uuid), FilterExpression="user_uuid = :other", values={":other": {"S": other_uuid}}
        )

    def conversation(self, group_uuid: str, *, seen: Sequence[Key] = ()) -> Reading:
        """A conversation as it is; `seen` is where rows of it were seen, as owner and sort key.

        Raises WriteConflict if its state comes and goes.
        """
        key = conversation_key(group_uuid)
        indexed = {(keys.inbox_owner(pk), sk) for pk, sk in map(key_of, self._indexed(group_uuid))} | set(seen)
        for _ in range(_LOOKS):
            known, places = self._table.get(key), sorted(indexed)
            if known and not readable(known):
                return Reading(group_uuid, known, [], Messages())
            if known:
                # Where the rows belong comes first, because it is read at the same instant as the state.
                right = [(member, known["last_message_at"]["S"]) for member in known["members"]["M"]]
                places = [*right, *(place for place in places if place not in right)]
            state, *found = self.together([key, *(inbox_row_key(owner, sk) for owner, sk in places)])
            messages = self._read_messages(group_uuid, state)
            after = self._table.get(key)
            if len({item is None for item in (known, state, after)}) > 1:
                continue  # it was adopted just now
            if state and after != state:
                messages = self._read_messages(group_uuid, state, moved=True)
            rows = [row for row in found if row and text(row, GROUP) == group_uuid]
            settled = not (known and state) or known["last_message_at"] == state["last_message_at"]
            return Reading(group_uuid, state, rows, messages, settled=settled)
        raise WriteConflict

    def together(self, places: Sequence[Item]) -> list[Item | None]:
        """The items with these keys as they are at one instant; of many, the first ones."""
        items: list[Item | None] = []
        for start in range(0, len(places), _KEYS_AT_ONCE):
            items += self._together(places[start : start + _KEYS_AT_ONCE])
        return items

    def counted(self, group_uuid: str, state: Item | None, *, moved: bool = False) -> Iterator[Item]:
        """A conversation's messages but those that may still get their number, and if the state moved, those since."""
        now, seq = self._clock(), whole(state or {}, "seq") or 0
        for item in self.messages(group_uuid):
            waits = state and whole(item, "seq") is None and _is_young(item, now)
            since = moved and (whole(item, "seq") or 0) > seq
            if counts(item, (code for code, _ in problems(item))) and not waits and not since:
                yield item

    def _read_messages(self, group_uuid: str, state: Item | None, *, moved: bool = False) -> Messages:
        told = Messages()
        for item in self.counted(group_uuid, state, moved=moved):
            told.add(item, group_uuid=group_uuid, members=state["members"]["M"] if state else None)
        return told

    def _indexed(self, group_uuid: str) -> list[Item]:
        """A conversation's rows by the index, which lags behind; whoever else has the attribute is left out."""
        return [item for item in indexed(self._table, group_uuid) if kind_of(item) is keys.Kind.ROW]

    def _together(self, places: Sequence[Item]) -> list[Item | None]:
        gets = [{"Get": {"TableName": self._table.name, "Key": key}} for key in places]
        for attempt in tries(WRITE_SECONDS):
            with translate_errors():
                try:
                    answer = self._client.transact_get_items(TransactItems=gets, ReturnConsumedCapacity="TOTAL")
                except self._client.exceptions.TransactionCanceledException:
                    pause(attempt)  # somebody was writing one of them
                    continue
            return [response.get("Item") for response in answer["Responses"]]
        raise WriteConflict


def _is_young(item: Item, now: datetime) -> bool:
    try:
        return abs(now - from_timestamp(item["sk"]["S"])) < PENDING
    except (ValueError, OverflowError):
        return False
