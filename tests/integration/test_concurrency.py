"""Many clients in two processes write at once: nothing is lost, doubled or out of order."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from typing import Any

import boto3
import pytest

from lib.config import ROOT
from lib.ddb.schema import create_table
from lib.users.accounts import User
from tests.support.concurrent_writers import Client, plan
from tests.support.stores import ANNA, BERT, CARL, TableContents

MESSAGES = 30
DORA = User("44444444-0000-4000-8000-000000000004", "dora", "Dora")

Processes = tuple[list[Client], list[Client]]


def clients(process: int, *pairs: tuple[User, User]) -> list[Client]:
    return [Client(a, b, f"{process}{number}{a.handle}", MESSAGES) for number, (a, b) in enumerate(pairs)]


BOTH_WAYS: Processes = (clients(1, *[(ANNA, BERT)] * 4), clients(2, *[(BERT, ANNA)] * 4))
SEVERAL_CONVERSATIONS: Processes = (
    clients(1, (ANNA, BERT), (CARL, ANNA), (ANNA, DORA), (DORA, ANNA)),
    clients(2, (BERT, ANNA), (ANNA, CARL), (CARL, ANNA), (ANNA, BERT)),
)


@pytest.mark.parametrize(
    "processes",
    [
        pytest.param(BOTH_WAYS, id="both directions"),
        pytest.param(SEVERAL_CONVERSATIONS, id="several conversations of one user"),
    ],
)
def test_acknowledged_messages_are_stored_once_and_in_order(processes: Processes, fresh_dynamodb_url: str) -> None:
    table = f"messages-{uuid.uuid4().hex}"
    client = boto3.client("dynamodb", endpoint_url=fresh_dynamodb_url)
    create_table(client, table)
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.concurrent_writers",
                plan(fresh_dynamodb_url, table, process_clients),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for process_clients in processes
    ]
    acknowledged = [text for process in running for text in json.loads(process.communicate(timeout=180)[0])]

    writers = [*processes[0], *processes[1]]
    assert sorted(acknowledged) == sorted(text for writer in writers for text in writer.texts())
    contents = Snapshot(client, table)
    by_pair: dict[frozenset[str], list[str]] = {}
    for writer in writers:
        by_pair.setdefault(frozenset((writer.sender.uuid, writer.receiver.uuid)), []).extend(writer.texts())
    assert len(contents.groups()) == len(by_pair)
    for pair, texts in by_pair.items():
        [group_uuid] = [group for group, members in contents.groups().items() if members == pair]
        contents.check(group_uuid, texts)
    client.delete_table(TableName=table)


class Snapshot(TableContents):
    """The table read once, after everybody has stopped."""

    def __init__(self, client: Any, table: str) -> None:
        super().__init__(client, table)
        self._items = super().items()

    def items(self) -> list[Any]:
        return self._items

    def groups(self) -> dict[str, frozenset[str]]:
        """Each conversation's members."""
        states = [item for item in self._items if item["pk"]["S"].startswith("CONV#")]
        return {item["pk"]["S"].removeprefix("CONV#"): frozenset(item["members"]["M"]) for item in states}
