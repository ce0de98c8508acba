"""The PartiQL that bin/ddb/explain shows for a write does what the write does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest

from lib.ddb.cursors import CursorSigner
from lib.ddb.schema import create_table
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.store import MessageStore, StreamedMessageStore
from lib.ddb.table import Table
from tests.support.stores import ANNA, BERT, TableContents
from tools.explain import partiql
from tools.explain.recorder import Call, record


@pytest.fixture
def copy(dynamodb_client: Any) -> Iterator[str]:
    """Another empty table."""
    name = f"messages-{uuid.uuid4().hex}"
    create_table(dynamodb_client, name)
    yield name
    dynamodb_client.delete_table(TableName=name)


def repeat(client: Any, calls: list[Call], *, table: str) -> None:
    """Run the statements of all writes on another table, a transaction for each call."""
    for call in calls:
        statements = [partiql.write(action, {**arguments, "TableName": table}) for action, arguments in call.writes]
        client.execute_transaction(
            TransactStatements=[{"Statement": each.text, "Parameters": each.parameters} for each in statements if each]
        )


def by_key(contents: TableContents) -> list[dict[str, Any]]:
    return sorted(contents.items(), key=lambda item: (item["pk"]["S"], item["sk"]["S"]))


@pytest.mark.parametrize("store_of", [MessageStore, StreamedMessageStore])
def test_statements_of_all_writes_leave_the_same_table_and_are_refused_again(
    store_of: type[MessageStore], dynamodb_url: str, dynamodb_client: Any, table: str, copy: str
) -> None:
    with closing(boto3.client("dynamodb", endpoint_url=dynamodb_url)) as client:
        calls = record(client)
        store = store_of(Table(client, table), CursorSigner("any"))
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="It's the first").group_uuid
        sent = [store.send(group_uuid=group, sender=user, text=f"after {user.handle}") for user in (BERT, ANNA)]
        if store_of is StreamedMessageStore:
            assert SequenceNumbers(Table(client, table)).update(group, sent) == 2
    written = [call for call in calls if call.writes]
    assert len(written) == (4 if store_of is StreamedMessageStore else 3)
    repeat(dynamodb_client, written, table=copy)
    assert by_key(TableContents(dynamodb_client, copy)) == by_key(TableContents(dynamodb_client, table))
    for call in written:
        with pytest.raises(dynamodb_client.exceptions.TransactionCanceledException):
            repeat(dynamodb_client, [call], table=copy)
