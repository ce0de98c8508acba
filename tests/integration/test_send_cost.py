"""What a message costs where several processes write to its conversation, each behind the real server."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from itertools import repeat
from pathlib import Path

import pytest

from lib.aws.dynamodb_client import DynamoDBClient
from lib.aws.metering import start_metering
from tests.support.api import Api, Person, run_api
from tests.support.api_server import ApiServer
from tests.support.stores import ANNA, BERT, TableContents, stores_on
from tools.local_stack.environment import CREDENTIALS
from tools.local_stack.processes import LOOPBACK

MESSAGES = 100

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture(scope="module")
def servers(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ApiServer]]:
    """Two processes on one table."""
    settings, folder = api.settings, tmp_path_factory.mktemp("servers")
    variables = {
        **CREDENTIALS,
        "DATABASE_URL": settings.database_url,
        "DDB_TABLE": settings.ddb_table,
        "AWS_ENDPOINT_URL_DYNAMODB": settings.aws_endpoint_url_dynamodb or "",
        "AWS_COGNITO_USER_POOL_ID": settings.aws_cognito_user_pool_id,
        "AWS_COGNITO_USER_POOL_CLIENT_ID": settings.aws_cognito_user_pool_client_id,
        "COGNITO_JWKS_URL": settings.cognito_jwks_url,
        "WEB_CONCURRENCY": "1",
    }
    with ExitStack() as running:
        yield [running.enter_context(ApiServer(folder / str(number), **variables)) for number in range(2)]


@pytest.mark.parametrize(("processes", "most_reads"), [(1, 0.05), (2, 1.05)])
def test_a_message_takes_one_transaction_and_at_most_one_read(
    api: Api, servers: list[ApiServer], processes: int, most_reads: float
) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    warm_up(servers, anna, bert)
    logs = [server.log for server in servers if server.log]
    before = [log.stat().st_size for log in logs]
    chance = random.Random(1)  # noqa: S311
    for _ in range(MESSAGES):
        send(chance.choice(servers[:processes]), chance.choice([anna, bert]), group)
    requests, reads, writes = costs(logs, before)
    TableContents(api.boto3, api.settings.ddb_table).check(group, ["hello", *repeat("a message", MESSAGES)])
    assert reads <= most_reads * MESSAGES
    assert requests - reads <= 1.05 * MESSAGES  # each read costs one unit, so the others are transactions
    assert writes == MESSAGES * write_units(api, anna, group)


def test_sixteen_processes_take_no_more(api: Api) -> None:
    """A store for each, with a memory of its own, because sixteen servers take long to start."""
    settings = api.settings
    stores = [stores_on(client, settings.ddb_table)() for client in map(DynamoDBClient, repeat(settings, 16))]
    group = stores[0].send_to_user(sender=ANNA, receiver=BERT, text="hello").group_uuid
    chance, usage = random.Random(1), start_metering()  # noqa: S311
    for _ in range(4 * MESSAGES):
        chance.choice(stores).send(group_uuid=group, sender=chance.choice([ANNA, BERT]), text="a message")
    assert usage.read_units <= 4 * MESSAGES
    assert usage.requests - usage.read_units <= 1.05 * 4 * MESSAGES


def warm_up(servers: list[ApiServer], *people: Person) -> None:
    """Have each process fetch the keys of the tokens, and remember the users."""
    for server in servers:
        for person in people:
            request(server, person, "GET", "/api/message_groups")


def send(server: ApiServer, person: Person, group: str) -> None:
    request(server, person, "POST", "/api/messages", {"message_group_uuid": group, "message": "a message"})


def request(server: ApiServer, person: Person, method: str, path: str, body: object = None) -> None:
    connection = HTTPConnection(LOOPBACK, server.port, timeout=10)
    headers = {**person.headers, "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    response.read()
    connection.close()


def costs(logs: list[Path], before: list[int]) -> tuple[int, float, float]:
    """DynamoDB requests, read units and write units that the processes have logged since."""
    lines = [
        json.loads(line)
        for log, start in zip(logs, before, strict=True)
        for line in log.read_text()[start:].splitlines()
    ]
    lines = [line for line in lines if line["event"] == "request"]
    assert len(lines) == MESSAGES
    fields = ("dynamodb_requests", "dynamodb_read_units", "dynamodb_write_units")
    requests, reads, writes = (sum(line[field] for line in lines) for field in fields)
    return requests, reads, writes


def write_units(api: Api, anna: Person, group: str) -> float:
    """The write units of one send, as this engine counts them."""
    anna.answer("a message", group=group)
    units: float = api.lines()[-1]["dynamodb_write_units"]
    return units
