"""The cost of a message if several processes write to its conversation, each with its own client and caches."""

from __future__ import annotations

import random
from itertools import repeat
from typing import Any

import pytest

from lib.aws.dynamodb_client import DynamoDBClient
from lib.aws.metering import start_metering
from lib.config import DynamoDBSettings
from tests.support.stores import ANNA, BERT, TableContents, stores_on

MESSAGES = 200


@pytest.mark.parametrize(("processes", "most_reads"), [(1, 0.05), (4, 1.0), (16, 1.0)])
def test_message_costs_one_transaction_and_at_most_one_read(
    dynamodb_url: str, dynamodb_client: Any, table: str, processes: int, most_reads: float
) -> None:
    settings = DynamoDBSettings(aws_default_region="us-east-1", aws_endpoint_url_dynamodb=dynamodb_url)
    clients = [DynamoDBClient(settings) for _ in range(processes)]
    stores = [stores_on(client, table)() for client in clients]
    group = stores[0].send_to_user(sender=ANNA, receiver=BERT, text="hello").group_uuid
    usage = start_metering()
    stores[0].send(group_uuid=group, sender=ANNA, text="a message")
    one_send = usage.write_units
    chance, usage = random.Random(1), start_metering()  # noqa: S311
    for _ in range(MESSAGES):
        chance.choice(stores).send(group_uuid=group, sender=chance.choice([ANNA, BERT]), text="a message")
    for client in clients:
        client.close()

    assert usage.read_units <= most_reads * MESSAGES
    transactions = usage.requests - usage.read_units  # a read costs one unit
    assert transactions <= MESSAGES + processes  # one refusal shows a process that others write too
    assert usage.write_units == MESSAGES * one_send
    TableContents(dynamodb_client, table).check(group, ["hello", *repeat("a message", MESSAGES + 1)])
