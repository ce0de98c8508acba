"""The doctor's reads: the whole table by a scan, the current items of one conversation, and the users in Postgres.

The reader gets a conversation's state and rows at one instant (TransactGetItems), and its messages after that. It reads
the state again at the end, so that a message written meanwhile does not look like a difference.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from lib.clock import Clock, from_timestamp
from lib.ddb import keys
from lib.ddb.errors import WriteConflict, translate_errors
from lib.ddb.items import Conversation, Item, Key, block_key, conversation_key, inbox_row_key, key_of, pair_key
from lib.ddb.migration import indexed
from lib.ddb.table import WRITE_SECONDS, Table
from lib.deadline import pause, tries
from lib.postgres.database import Database
from lib.users.accounts import User
from lib.users.directory import to_user
from tools.cli import tables
from tools.doctor.shapes import GROUP, is_uuid, parts, readable, text, users, whole

PENDING = timedelta(minutes=1)
"""The longest that a message of stream mode may wait for its number."""

_USERS_PER_PAGE = 10_000
_READS = 3
_KEYS_PER_TRANSACTION = 25  # AWS takes 100, emulators 25
_EXAMPLES = 10  # the most messages that a finding names


class Messages:
    """A summary of a conversation's messages in the order of their keys; 8 bytes per message."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.seqs = array("q")  # 0 for a message without a number
        self.newest: Item | None = None
        self.newest_numbered: Item | None = None
        self.late: list[Item] = []  # messages without a number: the first ones and the last
        self.senders: dict[str, Item] = {}  # the first senders, each with one of their messages
        self.last_places: dict[str, int] = {}  # each sender's last message, counted from 1
        self.last_seqs: dict[str, int] = {}  # the number of each sender's last message with a number
        for item in items:
            seq, sender = whole(item, "seq"), text(item, "user_uuid") or ""
            self.seqs.append(seq or 0)
            self.last_places[sender] = len(self.seqs)
            self.newest = item
            if seq is None:
                self.late[_EXAMPLES - 1 :] = [item]
            else:
                self.newest_numbered = item
                self.last_seqs[sender] = seq
            if len(self.senders) < _EXAMPLES:
                self.senders.setdefault(sender, item)


@dataclass(frozen=True, slots=True)
class Reading:
    """A conversation at one instant; `item` is its stored state, or None.

    If `is_consistent` is false, the state changed before the transaction, so `rows` lacks the rows at its new time.
    """

    group_uuid: str
    item: Item | None
    rows: list[Item]
    messages: Messages
    is_consistent: bool = True

    @property
    def state(self) -> Conversation | None:
        """The state; None if it is missing or unreadable."""
        if self.item is None or not readable(self.item):
            return None
        return Conversation.from_item(self.item, group_uuid=self.group_uuid)

    @property
    def members(self) -> list[str]:
        """The members by the rows, for a conversation without a state."""
        return sorted({uuid for row in self.rows for uuid in (parts(row)[0], text(row, "user_uuid")) if uuid})


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads of one table and its users. Every method raises StoreUnavailable or DatabaseUnavailable."""

    client: Any
    table: Table
    database: Database
    clock: Clock

    def users(self, uuids: Iterable[str]) -> Mapping[str, User]:
        """The users in Postgres with these uuids."""
        valid = [uuid for uuid in uuids if is_uuid(uuid)]
        rows = self.database.all("users/by_uuids", uuids=valid) if valid else []
        return {user.uuid: user for user in map(to_user, rows)}

    def private_values(self) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
        """Every user's uuid, with the e-mail address and the Cognito id."""
        after = UUID(int=0)
        while page := self.database.all("users/after", after=after, limit=_USERS_PER_PAGE):
            yield from ((str(row["uuid"]), (row["email"], row["cognito_user_id"])) for row in page)
            after = page[-1]["uuid"]

    def item_count(self) -> int:
        """DynamoDB's item count of the table, up to some hours old."""
        with translate_errors():
            return int(self.client.describe_table(TableName=self.table.name)["Table"]["ItemCount"])

    def scan(self) -> Iterator[Item]:
        """Every item of the table, eventually consistent, in no order."""
        with translate_errors():
            yield from tables.scan(self.client, self.table.name)

    def group(self, group_uuid: str) -> Iterator[Item]:
        """Every item of one conversation: its state, guard, blocks, rows and messages."""
        state = self.table.get(conversation_key(group_uuid))
        pair = list(users(state)) if state else []
        places = [pair_key(*pair), block_key(*pair), block_key(*pair[::-1])] if len(pair) == 2 else []
        yield from filter(None, (state, *map(self.table.get, places)))
        yield from filter(None, self.items_at_once([_wire(key_of(row)) for row in indexed(self.table, group_uuid)]))
        yield from self.table.partition(keys.message_pk(group_uuid))

    def item(self, key: Key) -> Item | None:
        return self.table.get(_wire(key))

    def conversation(self, group_uuid: str, *, scanned: Iterable[Key] = ()) -> Reading:
        """The current conversation; `scanned` are keys of rows that the index may lack.

        Raises WriteConflict if its state keeps appearing and disappearing.
        """
        key = conversation_key(group_uuid)
        rows_by_index = (item for item in indexed(self.table, group_uuid) if keys.is_time(item["sk"]["S"]))
        others = [*map(_wire, sorted({*map(key_of, rows_by_index), *scanned}))]
        for _ in range(_READS):
            before = self.table.get(key)
            if before and not readable(before):
                return Reading(group_uuid, before, [], Messages())
            # The members' rows come first: the first transaction reads them together with the state.
            members = [inbox_row_key(uuid, before["last_message_at"]["S"]) for uuid in users(before)] if before else []
            state, *rows = self.items_at_once([key, *members, *(place for place in others if place not in members)])
            messages = Messages(self.messages(group_uuid, state))
            after = self.table.get(key)
            if len({item is None for item in (before, state, after)}) > 1:
                continue  # another process has just migrated the conversation
            if after != state:
                messages = Messages(self.messages(group_uuid, state, moved=True))
            own = [row for row in rows if row and text(row, GROUP) == group_uuid]
            is_consistent = not (before and state) or before["last_message_at"] == state["last_message_at"]
            return Reading(group_uuid, state, own, messages, is_consistent)
        raise WriteConflict

    def items_at_once(self, places: Sequence[Item]) -> list[Item | None]:
        """The items with these keys. DynamoDB reads 25 of them at one instant."""
        items: list[Item | None] = []
        for start in range(0, len(places), _KEYS_PER_TRANSACTION):
            items += self._transact_get(places[start : start + _KEYS_PER_TRANSACTION])
        return items

    def messages(self, group_uuid: str, state: Item | None, *, moved: bool = False) -> Iterator[Item]:
        """A conversation's messages that the doctor counts, oldest first."""
        items = self.table.partition(keys.message_pk(group_uuid))
        return countable_messages(items, state, now=self.clock(), moved=moved)

    def _transact_get(self, places: Sequence[Item]) -> list[Item | None]:
        gets = [{"Get": {"TableName": self.table.name, "Key": key}} for key in places]
        for attempt in tries(WRITE_SECONDS):
            with translate_errors():
                try:
                    response = self.client.transact_get_items(TransactItems=gets, ReturnConsumedCapacity="TOTAL")
                except self.client.exceptions.TransactionCanceledException:
                    pause(attempt)  # another process is writing one of the items
                    continue
            return [result.get("Item") for result in response["Responses"]]
        raise WriteConflict


def countable_messages(
    messages: Iterable[Item], state: Item | None, *, now: datetime, moved: bool = False
) -> Iterator[Item]:
    """The messages without unreadable ones and those that may still wait for their number.

    A message with a number may lack other attributes, but its sort key is a time. If the state has `moved` since, also
    without the messages that are newer than the state.
    """
    last = whole(state or {}, "seq") or 0
    for item in messages:
        seq = whole(item, "seq")
        if not keys.is_time(item["sk"]["S"]):
            continue
        if seq is None:
            if readable(item) and not (state and abs(now - from_timestamp(item["sk"]["S"])) < PENDING):
                yield item
        elif not (moved and seq > last):
            yield item


def _wire(key: Key) -> Item:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}
