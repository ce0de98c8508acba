"""The cost of a message if several processes write to its conversation."""

from __future__ import annotations

import json
import random
from http.client import HTTPConnection
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from lib.aws.dynamodb_client import DynamoDBClient
from lib.aws.metering import start_metering
from lib.config import DynamoDBSettings
from tests.support.api import Api, run_api
from tests.support.api_server import ApiServer
from tests.support.stores import ANNA, BERT, TableContents, stores_on
from tools.local_stack.processes import LOOPBACK

MESSAGES = 200

api = pytest.fixture(scope="module")(run_api)


def test_message_to_a_server_with_four_workers_costs_one_transaction_and_at_most_one_read(
    api: Api, tmp_path: Path
) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    anna.reply("a message", group=group)
    one_send = api.lines()[-1]["dynamodb_write_units"]
    body, chance = json.dumps({"message_group_uuid": group, "message": "a message"}), random.Random(1)  # noqa: S311
    with ApiServer(tmp_path / "log", WEB_CONCURRENCY="4", **api.server_variables()) as server:
        for _ in range(MESSAGES):  # the kernel chooses a worker for each connection
            connection = HTTPConnection(LOOPBACK, server.port, timeout=10)
            headers = {**chance.choice([anna, bert]).headers, "Content-Type": "application/json"}
            connection.request("POST", "/api/messages", body, headers)
            assert connection.getresponse().status == 200
            connection.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    sends = [line for line in lines if line.get("route") == "/api/messages"]
    fields = ("dynamodb_requests", "dynamodb_read_units", "dynamodb_write_units")
    requests, reads, writes = (sum(line[field] for line in sends) for field in fields)

    assert len(sends) == MESSAGES
    assert reads <= 1.05 * MESSAGES
    assert requests - reads <= 1.05 * MESSAGES  # a read costs one unit, so the others are transactions
    assert writes == one_send * MESSAGES
    TableContents(api.boto3, api.settings.ddb_table).check(group, ["hello", *repeat("a message", MESSAGES + 1)])


@pytest.mark.parametrize(("processes", "most_reads"), [(1, 0.05), (16, 1.0)])
def test_message_costs_one_transaction_and_at_most_one_read(
    dynamodb_url: str, dynamodb_client: Any, table: str, processes: int, most_reads: float
) -> None:
    """A store with its own client and caches stands for each process, because 16 servers take long to start."""
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
