"""Two users write and read at once, through the caches of two processes: no read position is lost or wrong."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import boto3
import pytest
from botocore.config import Config

from lib.ddb.errors import WriteConflict
from lib.ddb.schema import create_table
from lib.ddb.store import MessageStore
from lib.users.accounts import User
from tests.support.stores import ANNA, BERT, TableContents, positions_of, stores_on

MESSAGES = 25

Act = Callable[[MessageStore, str, User], list[int]]
TwoProcesses = tuple[TableContents, MessageStore, MessageStore, str]
"""The table's contents, the stores of two processes, and the conversation's uuid."""


@pytest.fixture
def conversation(fresh_dynamodb_url: str) -> Iterator[TwoProcesses]:
    """A conversation of one message, in a table of its own."""
    table = f"messages-{uuid.uuid4().hex}"
    client = boto3.client("dynamodb", endpoint_url=fresh_dynamodb_url, config=Config(max_pool_connections=20))
    create_table(client, table)
    first, second = (stores_on(client, table)() for _ in range(2))
    group = first.send_to_user(sender=ANNA, receiver=BERT, text="hello").group_uuid
    yield TableContents(client, table), first, second, group
    client.delete_table(TableName=table)


def until_done(act: Callable[[], object]) -> None:
    while True:
        try:
            act()
        except WriteConflict:
            continue
        return


def write(store: MessageStore, group: str, sender: User) -> list[int]:
    """Send messages; return their numbers, which their sender has read."""
    seqs: list[int] = []
    for _ in range(MESSAGES):
        until_done(lambda: seqs.append(store.send(group_uuid=group, sender=sender, text="hello").seq or 0))
    return seqs


def read(store: MessageStore, group: str, reader: User) -> list[int]:
    """Read the inbox and mark its row as read; return the marked numbers."""
    seqs: list[int] = []
    positions = positions_of(store)
    for _ in range(MESSAGES):
        [row] = store.list_inbox(user_uuid=reader.uuid, limit=1, cursor=None).items or [None]
        if row and row.seq:
            until_done(lambda seq=row.seq: positions.mark_read(group_uuid=group, user=reader, seq=seq))  # type: ignore[misc]
            seqs.append(row.seq)
    return seqs


def unread(store: MessageStore, group: str, reader: User) -> list[int]:
    """Mark the conversation as unread several times."""
    for _ in range(MESSAGES // 4):
        until_done(lambda: positions_of(store).mark_unread(group_uuid=group, user=reader))
    return []


def test_position_ends_at_the_last_message_written_or_marked(conversation: TwoProcesses) -> None:
    contents, first, second, group = conversation
    highest = at_once(first, second, group, write, read, read)

    contents.check(group, ["hello"] * (2 * MESSAGES + 1))
    for user, last in highest.items():
        [row] = contents.inbox(user)
        assert row.read_seq == last
        total = positions_of(first).unread_count(user_uuid=user.uuid, at_most=10**6)
        assert total == row.unread_count == 2 * MESSAGES + 1 - last


def test_row_and_state_agree_after_concurrent_writes_and_marks(conversation: TwoProcesses) -> None:
    contents, first, second, group = conversation
    at_once(first, second, group, write, read, unread)

    contents.check(group, ["hello"] * (2 * MESSAGES + 1))
    for user in (ANNA, BERT):
        positions_of(first).mark_unread(group_uuid=group, user=user)
        of_other = [message.seq or 0 for message in contents.messages(group) if message.sender != user]
        assert contents.inbox(user)[0].read_seq < of_other[-1]
    contents.check(group, ["hello"] * (2 * MESSAGES + 1))


def at_once(first: MessageStore, second: MessageStore, group: str, *acts: Act) -> dict[User, int]:
    """Let both users do all acts at the same time; return the highest number that each of them wrote or marked."""
    with ThreadPoolExecutor(2 * len(acts)) as threads:
        stores = cycle((first, second))
        running = {user: [threads.submit(act, next(stores), group, user) for act in acts] for user in (ANNA, BERT)}
        return {user: max(seq for future in futures for seq in future.result()) for user, futures in running.items()}
