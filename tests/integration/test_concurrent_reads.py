"""Two people write and read at once, through two processes' memories: no position is lost, none drifts."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

from lib.ddb.errors import Contended
from lib.ddb.schema import create_table
from lib.ddb.store import MessageStore
from lib.users import User
from tests.stores import ANNA, BERT, TableContents, positions_of, stores_on

MESSAGES = 60


def until_done(act: Callable[[], object]) -> None:
    while True:
        try:
            act()
        except Contended:
            continue
        return


def write(store: MessageStore, group: str, sender: User) -> list[int]:
    """Sends; the numbers that its messages got, which are read by their sender."""
    seqs: list[int] = []
    for _ in range(MESSAGES):
        until_done(lambda: seqs.append(store.send(group_uuid=group, sender=sender, text="hello").seq or 0))
    return seqs


def read(store: MessageStore, group: str, reader: User) -> list[int]:
    """Reads the inbox and marks what it shows; the numbers that were marked."""
    seqs: list[int] = []
    positions = positions_of(store)
    for _ in range(MESSAGES):
        [row] = store.list_inbox(user_uuid=reader.uuid, limit=1, cursor=None).items or [None]
        if row and row.seq:
            until_done(lambda seq=row.seq: positions.mark_read(group_uuid=group, user=reader, seq=seq))  # type: ignore[misc]
            seqs.append(row.seq)
    return seqs


def test_each_position_ends_at_the_last_message_written_or_marked(fresh_dynamodb_url: str) -> None:
    table = f"messages-{uuid.uuid4().hex}"
    client = boto3.client("dynamodb", endpoint_url=fresh_dynamodb_url, config=Config(max_pool_connections=20))
    create_table(client, table)
    here, elsewhere = (stores_on(client, table)() for _ in range(2))
    group = here.send_to_user(sender=ANNA, receiver=BERT, text="hello").group_uuid
    with ThreadPoolExecutor(8) as threads:
        running = {
            user: [
                threads.submit(act, store, group, user)  # type: ignore[arg-type]
                for act, store in ((write, first), (read, second), (read, first))
            ]
            for user, first, second in ((ANNA, here, elsewhere), (BERT, elsewhere, here))
        }
        seen = {user: max(seq for each in acts for seq in each.result()) for user, acts in running.items()}

    contents = TableContents(client, table)
    contents.check(group, ["hello"] * (2 * MESSAGES + 1))
    for user, last in seen.items():
        [row] = contents.inbox(user)
        assert row.read_seq == last
        total = positions_of(here).unread_count(user_uuid=user.uuid, at_most=10**6)
        assert total == row.unread_count == 2 * MESSAGES + 1 - last
    client.delete_table(TableName=table)
