"""The requests and capacity units of each call in docs/performance.md, on the engine under test."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from lib.aws.dynamodb_client import DynamoDBClient
from lib.aws.metering import start_metering
from lib.config import DynamoDBSettings
from lib.ddb.blocks import Blocks
from lib.ddb.cursors import CursorSigner
from lib.ddb.items import Message
from lib.ddb.read_positions import ReadPositions
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.store import MessageStore, StreamedMessageStore
from lib.ddb.table import Table
from lib.users.accounts import User
from services.live import FeedReader
from tests.conftest import engine_scope
from tests.support import documents
from tests.support.examples import AUGUSTSZ, BAYKO, IDEMPOTENCY

ROWS = {call: (int(requests), rest) for call, requests, *rest in documents.table(documents.PERFORMANCE, "Call")}
COLUMNS = {"ministack": 1, "dynamodb-local": 2}  # of the units, after those of AWS's rules
SHORT = "x" * 100


class Process:
    """The stores of a process on a table. It sends before a call is measured, so its caches are warm."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.cursors = CursorSigner("a secret of the tests")
        self.store = MessageStore(table, self.cursors)
        self.streamed = StreamedMessageStore(table, self.cursors)
        self.positions = ReadPositions(table, self.store.conversations)
        self.blocks = Blocks(table, self.store.conversations, self.cursors)
        self.group_uuid = ""

    def write_messages(self, count: int, text: str = SHORT) -> None:
        """Write so many messages into the conversation of Augustsz and Bayko."""
        self.group_uuid = self.store.send_to_user(sender=AUGUSTSZ, receiver=BAYKO, text=text).group_uuid
        for _ in range(count - 1):
            self.send(text)

    def start_conversations(self, count: int) -> None:
        """Start so many conversations of Augustsz, with one message each."""
        for _ in range(count):
            other = replace(BAYKO, uuid=str(uuid.uuid4()))
            self.store.send_to_user(sender=AUGUSTSZ, receiver=other, text=SHORT)

    def send(self, text: str = SHORT, sender: User = AUGUSTSZ, **options: Any) -> Message:
        return self.store.send(group_uuid=self.group_uuid, sender=sender, text=text, **options)

    def send_streamed(self, **options: Any) -> Message:
        return self.streamed.send(group_uuid=self.group_uuid, sender=AUGUSTSZ, text=SHORT, **options)

    def list_messages(self, limit: int) -> None:
        assert len(self.store.list_messages(group_uuid=self.group_uuid, user=BAYKO, limit=limit).items) == limit

    def list_inbox(self, limit: int) -> None:
        assert len(self.store.list_inbox(user_uuid=AUGUSTSZ.uuid, limit=limit).items) == limit


Call = Callable[[], object]


def messages(process: Process, count: int, text: str) -> Call:
    process.write_messages(count + 1, text)
    return lambda: process.list_messages(count)


def inbox(process: Process) -> Call:
    process.start_conversations(21)
    return lambda: process.list_inbox(20)


def first(process: Process) -> Call:
    return lambda: process.store.send_to_user(sender=AUGUSTSZ, receiver=BAYKO, text=SHORT)


def send(process: Process, text: str = SHORT, **options: Any) -> Call:
    process.write_messages(1, text)
    return lambda: process.send(text, **options)


def send_as_another_process(process: Process) -> Call:
    process.write_messages(1)
    other = Process(process.table)
    other.group_uuid = process.group_uuid
    return other.send


def send_streamed(process: Process, **options: Any) -> Call:
    process.write_messages(1)
    process.send_streamed()
    return lambda: process.send_streamed(**options)


def count(process: Process, number: int) -> Call:
    process.write_messages(1)
    new = [process.send_streamed() for _ in range(number)]
    return lambda: SequenceNumbers(process.table).update(process.group_uuid, new)


def count_late(process: Process) -> Call:
    call = count(process, 1)

    def call_late() -> None:
        with patch("lib.ddb.inbox_rows.LATE", timedelta()):
            call()

    return call_late


def open_stream(process: Process, *, again: bool = False) -> Call:
    process.start_conversations(21)
    cursor = FeedReader(process.store, None, AUGUSTSZ, since=None).cursor if again else None
    return lambda: FeedReader(process.store, None, AUGUSTSZ, since=cursor).changes()


def poll(process: Process) -> Call:
    process.start_conversations(21)
    follower = FeedReader(
        MessageStore(process.table, process.cursors, feed_window=timedelta()), None, AUGUSTSZ, since=None
    )
    return follower.changes


def deliver(process: Process) -> Call:
    process.write_messages(1)
    follower = FeedReader(process.store, None, BAYKO, since=None)
    process.send()
    return follower.changes


def show(process: Process) -> Call:
    process.write_messages(1)
    return lambda: process.store.conversations.get(group_uuid=process.group_uuid, user=BAYKO)


def mark_read(process: Process) -> Call:
    process.write_messages(1)
    return lambda: process.positions.mark_read(group_uuid=process.group_uuid, user=BAYKO, seq=1)


def mark_unread(process: Process) -> Call:
    process.write_messages(20)
    last = process.send(sender=BAYKO)
    process.positions.mark_read(group_uuid=process.group_uuid, user=AUGUSTSZ, seq=last.seq or 0)
    return lambda: process.positions.mark_unread(group_uuid=process.group_uuid, user=AUGUSTSZ)


def unread(process: Process) -> Call:
    process.start_conversations(20)
    return lambda: process.positions.unread_count(user_uuid=AUGUSTSZ.uuid, at_most=99)


def block(process: Process) -> Call:
    process.write_messages(1)
    return lambda: process.blocks.add(user=AUGUSTSZ, other=BAYKO)


def list_blocks(process: Process) -> Call:
    for _ in range(21):
        process.blocks.add(user=AUGUSTSZ, other=replace(BAYKO, uuid=str(uuid.uuid4())))
    return lambda: process.blocks.page(user_uuid=AUGUSTSZ.uuid, limit=20)


CALLS: dict[str, Callable[[Process], Call]] = {
    "A, 20 messages of 100 characters": lambda process: messages(process, 20, SHORT),
    "A, 100 messages of 1024 letters": lambda process: messages(process, 100, "x" * 1024),
    "B, 20 conversations, 100 characters": inbox,
    "C+D, the first message, 100 characters": first,
    "C+D, in a conversation, 100 characters": send,
    "C+D, in a conversation that others write to, 100 characters": send_as_another_process,
    "C+D, in a conversation, 100 characters, with a key": lambda process: send(process, idempotency=IDEMPOTENCY),
    "C+D, in a conversation, 1024 letters": lambda process: send(process, "x" * 1024),
    "C+D, in a conversation, 1024 emoji": lambda process: send(process, "😀" * 1024),
    "C, in stream mode, 100 characters": send_streamed,
    "C, in stream mode, 100 characters, with a key": lambda process: send_streamed(process, idempotency=IDEMPOTENCY),
    "D, in stream mode, 1 message of 100 characters": lambda process: count(process, 1),
    "D, in stream mode, 10 messages of 100 characters": lambda process: count(process, 10),
    "D, in stream mode, 50 messages of 100 characters": lambda process: count(process, 50),
    "D, in stream mode, 1 late message of 100 characters": count_late,
    "a stream opens, 20 conversations, 100 characters": open_stream,
    "a stream goes on, 20 conversations of the last 10 s": lambda process: open_stream(process, again=True),
    "a stream polls, no conversation of the last 10 s": poll,
    "a stream delivers a message of 100 characters": deliver,
    "a conversation by itself": show,
    "mark read": mark_read,
    "mark unread": mark_unread,
    "the total of unread, 20 conversations, 100 characters": unread,
    "block or unblock, in a conversation": block,
    "block or unblock, before the first message": lambda process: (
        lambda: process.blocks.add(user=AUGUSTSZ, other=BAYKO)
    ),
    "the list of blocks, 20 users": list_blocks,
}


@pytest.fixture(scope=engine_scope)
def metered(dynamodb_url: str) -> Iterator[Any]:
    """A client of the API."""
    client = DynamoDBClient(DynamoDBSettings(aws_default_region="us-east-1", aws_endpoint_url_dynamodb=dynamodb_url))
    yield client
    client.close()


def test_every_call_of_the_table_is_measured() -> None:
    assert CALLS.keys() == ROWS.keys()


@pytest.mark.parametrize("call", CALLS)
def test_call_costs_the_documented_requests_and_units(
    call: str, metered: Any, table: str, request: pytest.FixtureRequest
) -> None:
    make = CALLS[call](Process(Table(metered, table)))
    usage = start_metering()
    make()
    engine = request.config.getoption("engine")
    requests, units = ROWS[call]
    assert usage.requests == requests
    assert engine not in COLUMNS or usage.capacity_units == float(units[COLUMNS[engine]])
