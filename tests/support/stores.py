"""Stores for the tests, each with its own caches like a process, and the contents of their table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from lib.clock import Clock, now, to_timestamp
from lib.ddb import keys
from lib.ddb.blocks import Blocks
from lib.ddb.cursors import CursorSigner
from lib.ddb.items import Conversation, InboxRow, Item, Message, conversation_key
from lib.ddb.read_positions import ReadPositions
from lib.ddb.store import MessageStore
from lib.ddb.table import Table
from lib.users.accounts import User

ANNA = User("11111111-0000-4000-8000-000000000001", "anna", "Anna Ann")
BERT = User("22222222-0000-4000-8000-000000000002", "bert", "Bert 🐻")
CARL = User("33333333-0000-4000-8000-000000000003", "carl", "Carl")
DORA = User("44444444-0000-4000-8000-000000000004", "dora", "Dora")
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
"""The time of the stores' clocks. Messages are late then, and emulators keep the receipts, which last a day."""

NewStore = Callable[..., MessageStore]
S = TypeVar("S", bound=MessageStore)


def after_start(seconds: float) -> str:
    """A timestamp in the table's format."""
    return to_timestamp(START + timedelta(seconds=seconds))


class SteppingClock:
    """Starts at `start` and moves on by `step` at each call; with a step of zero it stands still."""

    def __init__(self, step: timedelta = timedelta(seconds=1), *, start: datetime = START) -> None:
        self._step = step
        self._next = start

    def __call__(self) -> datetime:
        moment, self._next = self._next, self._next + self._step
        return moment


class TableContents:
    """The items of a table, read without the store."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, *items: Item) -> None:
        """Write items; of two with the same key, the last one stays."""
        by_key = {(item["pk"]["S"], item["sk"]["S"]): item for item in items}
        self._write([{"PutRequest": {"Item": item}} for item in by_key.values()])

    def remove(self, *keys: Item) -> None:
        self._write([{"DeleteRequest": {"Key": key}} for key in keys])

    def clear(self) -> None:
        self.remove(*({"pk": item["pk"], "sk": item["sk"]} for item in self.items()))

    def items(self) -> list[Item]:
        return self._pages("scan", ConsistentRead=True)

    def indexed(self) -> list[Item]:
        return self._pages("scan", IndexName="message-group-sk-index")

    def partition(self, pk: str) -> list[Item]:
        values = {":pk": {"S": pk}}
        return self._pages(
            "query", KeyConditionExpression="pk = :pk", ExpressionAttributeValues=values, ConsistentRead=True
        )

    def rows(self, owner_uuid: str) -> list[Item]:
        """The items of a user's inbox without the late updates."""
        return [item for item in self.partition(keys.inbox_pk(owner_uuid)) if item["sk"]["S"] != keys.LATE_UPDATES]

    def messages(self, group_uuid: str) -> list[Message]:
        return [Message.from_item(item) for item in self.partition(keys.message_pk(group_uuid))]

    def inbox(self, user: User) -> list[InboxRow]:
        return [InboxRow.from_item(item) for item in self.rows(user.uuid)]

    def conversation(self, group_uuid: str) -> Conversation:
        response = self._client.get_item(TableName=self._table, Key=conversation_key(group_uuid), ConsistentRead=True)
        return Conversation.from_item(response["Item"], group_uuid=group_uuid)

    def write_members(self, group_uuid: str) -> None:
        """Write the members and the version of a state, as a version of the server does that knows no blocks."""
        names = ("handle", "display_name", "read_seq", "last_seq")
        item = self._client.get_item(TableName=self._table, Key=conversation_key(group_uuid), ConsistentRead=True)
        state = item["Item"]
        members = {
            uuid: {"M": {name: value for name, value in member["M"].items() if name in names}}
            for uuid, member in state["members"]["M"].items()
        }
        self._client.update_item(
            TableName=self._table,
            Key=conversation_key(group_uuid),
            UpdateExpression="SET members = :members, version = :version",
            ExpressionAttributeValues={
                ":members": {"M": members},
                ":version": {"N": str(int(state["version"]["N"]) + 1)},
            },
        )

    def check(self, group_uuid: str, texts: Iterable[str]) -> None:
        """Assert the invariants of a conversation that holds exactly these messages, in any order."""
        messages = self.messages(group_uuid)
        assert sorted(message.text for message in messages) == sorted(texts)
        assert [message.seq for message in messages] == list(range(1, len(messages) + 1))
        state = self.conversation(group_uuid)
        assert (state.seq, state.last_message_at) == (len(messages), messages[-1].created_at)
        for owner_uuid, member in state.members.items():
            own_seqs = [message.seq for message in messages if message.sender.uuid == owner_uuid]
            assert member.last_seq in (None, ([0] + own_seqs)[-1])
            rows = [
                InboxRow.from_item(item)
                for item in self.rows(owner_uuid)
                if item["message_group_uuid"]["S"] == group_uuid
            ]
            shown = [(row.text, row.last_message_at, row.seq, row.sender_uuid) for row in rows]
            last = messages[-1]
            assert shown == [(last.text, last.created_at, last.seq, last.sender.uuid)]
            assert (rows[0].read_seq, rows[0].blocks) == (member.read_seq, member.blocks)

    def _pages(self, operation: str, **arguments: Any) -> list[Item]:
        pages = self._client.get_paginator(operation).paginate(TableName=self._table, **arguments)
        return [item for page in pages for item in page["Items"]]

    def _write(self, requests: list[Item]) -> None:
        for start in range(0, len(requests), 25):
            response = self._client.batch_write_item(RequestItems={self._table: requests[start : start + 25]})
            assert not response.get("UnprocessedItems")


def stores_on(client: Any, table: str, store_class: Callable[..., S] = MessageStore) -> Callable[..., S]:  # type: ignore[assignment]
    """Makes stores on one table, each with empty caches."""

    def make(**options: Any) -> S:
        return store_class(Table(client, table), CursorSigner("a secret of the tests"), **options)

    return make


def positions_of(store: MessageStore) -> ReadPositions:
    """The read positions of a store's table, with the same caches, as in one process."""
    return ReadPositions(store._table, store.conversations)


def blocks_of(store: MessageStore, *, clock: Clock = now) -> Blocks:
    """The blocks of a store's table, with the same caches, as in one process."""
    return Blocks(store._table, store.conversations, CursorSigner("a secret of the tests"), clock=clock)


def all_pages(list_page: Callable[[str | None], Any]) -> list[Any]:
    """The items of all pages of a list."""
    page = list_page(None)
    items = [*page.items]
    while page.next_cursor is not None:
        page = list_page(page.next_cursor)
        items += page.items
    return items
