"""Clients follow a feed while servers with different clocks write to many conversations: they miss nothing."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import cycle
from typing import Any

import boto3
import pytest
from botocore.config import Config

from lib.clock import Clock, now
from lib.ddb.errors import WriteConflict
from lib.ddb.schema import create_table
from lib.ddb.store import MessageStore
from lib.ddb.table import Write
from lib.users.accounts import User
from tests.support.stores import ANNA, TableContents, stores_on

MESSAGES = 30
SKEWS = (-3, 0, 3, 24 * 3600)  # seconds; the rows of the last clock stay ahead of all others


def skewed(seconds: float) -> Clock:
    return lambda: now() + timedelta(seconds=seconds)


def commit_late(store: MessageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delay each write after the choice of its sort key."""
    transact = store._table.transact

    def slow(writes: Sequence[Write], **options: Any) -> None:
        time.sleep(random.uniform(0, 0.1))  # noqa: S311
        transact(writes, **options)

    monkeypatch.setattr(store._table, "transact", slow)


def follow(readers: Sequence[MessageStore], since: str, is_over: Callable[[], bool]) -> list[tuple[str, str]]:
    """Read the feed at one server after the other until all is written and read; return the moves."""
    moves: list[tuple[str, str]] = []
    for reader in cycle(readers):
        last = is_over()
        page = reader.list_changed(user_uuid=ANNA.uuid, limit=3, since=since)
        moves += [(row.group_uuid, row.last_message_at) for row in page.items]
        assert page.feed_cursor
        since = page.feed_cursor
        if last and not page.next:
            return moves
    raise AssertionError


def test_feed_of_several_servers_returns_every_last_message_and_no_move_twice(
    fresh_dynamodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = f"messages-{uuid.uuid4().hex}"
    client = boto3.client("dynamodb", endpoint_url=fresh_dynamodb_url, config=Config(max_pool_connections=20))
    create_table(client, table)
    new_store = stores_on(client, table)
    writers = [new_store(clock=skewed(seconds)) for seconds in SKEWS]
    for writer in writers:
        commit_late(writer, monkeypatch)
    readers = [new_store(clock=skewed(seconds)) for seconds in (-2, 0, 2)]
    since = readers[0].list_inbox(user_uuid=ANNA.uuid, limit=20).feed_cursor
    assert since

    def write(number: int) -> None:
        friend = User(str(uuid.uuid4()), f"friend{number}", "A friend")
        for message in range(MESSAGES):
            try:
                writers[number % len(writers)].send_to_user(sender=friend, receiver=ANNA, text=f"{message}")
            except WriteConflict:  # the next message replaces it
                continue

    with ThreadPoolExecutor(2 * len(writers)) as threads:
        writing = [threads.submit(write, number) for number in range(2 * len(writers))]
        moves = follow(readers, since, lambda: all(future.done() for future in writing))
        for future in writing:
            future.result()
    assert len(moves) == len(set(moves))
    last = {(row.group_uuid, row.last_message_at) for row in TableContents(client, table).inbox(ANNA)}
    assert len(last) == len(writing)
    assert last <= set(moves)
    assert len(moves) > 2 * len(last), "the feed was not read during the writes"
    client.delete_table(TableName=table)
    client.close()
