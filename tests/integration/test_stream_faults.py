"""Two hundred messages through the stream function under faults: the table ends as inline sends leave it.

Batches arrive twice, in any order and shuffled; the function dies before and after its calls; one record is malformed;
conversations change between the modes. Each run prints its seed. FAULT_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from lib.ddb.schema import create_table
from lib.users.accounts import User
from tests.support.doctor_fixtures import People, run_doctor, tomorrow
from tests.support.stores import TableContents, stores_on
from tests.support.streamed import failures, load_handler, numbers, record, stream_records, streamed_stores_on

SEED = int(os.environ.get("FAULT_SEED", "0")) or random.randrange(1, 2**32)  # noqa: S311
MESSAGES, CONVERSATIONS, ROUNDS = 200, 20, 4
CRASHES = 25
DELIVERIES = 3  # of a record that fails
USERS = [User(f"{n:08}-0000-4000-8000-000000000000", f"user-{n}", f"User {n}") for n in range(12)]
TABLE = "messages-with-faults"

Records = list[dict[str, Any]]


class Crash(BaseException):
    """The process of the function dies."""


class Function:
    """The function and its event source mapping, with faults. `given_up` has the records that failed too often."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._module = load_handler("message_stream")
        self._crashes = 0
        self._connections = self._module._updater().sequence_numbers._table._client.connections
        self._send, self._connections.post = self._connections.post, self._post
        self.given_up: Records = []

    def deliver(self, records: Records) -> None:
        """Deliver every record at least twice, until it succeeds or is given up."""
        starts = sorted({0, *self._chance.sample(range(len(records)), len(records) // 40)})
        batches = [records[start:end] for start, end in zip(starts, [*starts[1:], len(records)], strict=True)]
        queue = [list(batch) for batch in batches * 2]
        self._chance.shuffle(queue)
        attempts = 0
        while queue:
            batch = queue.pop()
            if self._chance.random() < 0.5:
                self._chance.shuffle(batch)
            try:
                failed = failures(self._module.handler({"Records": batch}, None))
            except Crash:
                queue.insert(self._chance.randrange(len(queue) + 1), batch)
                continue
            if failed:  # Lambda continues at the first failure
                rest = batch[numbers(batch).index(failed[0]) :]
                attempts += 1
                if attempts >= DELIVERIES:
                    self.given_up.append(rest.pop(0))
                    attempts = 0
                queue.append(rest)

    def _post(self, *arguments: Any, **named: Any) -> Any:
        self._crash()
        response = self._send(*arguments, **named)
        self._crash()
        return response

    def _crash(self) -> None:
        if self._crashes < CRASHES and self._chance.random() < 0.1:
            self._crashes += 1
            raise Crash


@pytest.fixture
def client(fresh_dynamodb_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the function's DynamoDB, with the table."""
    client = boto3.client("dynamodb", endpoint_url=fresh_dynamodb_url, config=Config(retries={"mode": "standard"}))
    create_table(client, TABLE)
    monkeypatch.setenv("DDB_TABLE", TABLE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", fresh_dynamodb_url)
    yield client
    client.delete_table(TableName=TABLE)
    client.close()


def test_faults_of_the_function_leave_every_conversation_consistent(client: Any) -> None:
    print(f"FAULT_SEED={SEED}")  # noqa: T201 - shown when the test fails
    chance = random.Random(SEED)  # noqa: S311
    contents = TableContents(client, TABLE)
    pairs = chance.sample([(a, b) for a in USERS for b in USERS if a.uuid < b.uuid], CONVERSATIONS)
    stores = [stores_on(client, TABLE)(), streamed_stores_on(client, TABLE)()]
    function = Function(chance)
    groups: dict[tuple[User, User], str] = {}
    sent: dict[str, list[tuple[User, str]]] = {}
    delivered: Records = []
    for round_number in range(ROUNDS):
        modes = {pair: chance.choice(stores) for pair in pairs}
        for number in range(MESSAGES // ROUNDS):
            pair = chance.choice(pairs)
            sender, receiver = chance.sample(pair, 2)
            text, store = f"text {round_number}.{number}", modes[pair]
            if pair in groups:
                store.send(group_uuid=groups[pair], sender=sender, text=text)
            else:
                groups[pair] = store.send_to_user(sender=sender, receiver=receiver, text=text).group_uuid
            sent.setdefault(groups[pair], []).append((sender, text))
        known = set(numbers(delivered))
        new = [change for change in stream_records(client, TABLE) if change["dynamodb"]["SequenceNumber"] not in known]
        again = chance.sample(delivered, len(delivered) // 5)
        delivered += new
        group = chance.choice(list(groups.values()))
        malformed = record({"pk": {"S": f"MSG#{group}"}, "sk": {"S": "2026-01-01T00:00:00.000000+00:00"}})
        new.insert(chance.randrange(len(new)), malformed)
        function.deliver(new + again)
        assert {change["eventID"] for change in function.given_up} == {malformed["eventID"]}
        function.given_up.clear()

    for group, messages in sent.items():
        contents.check(group, [text for _, text in messages])
        assert [message.text for message in contents.messages(group)] == [text for _, text in messages]
        state = contents.conversation(group)
        last_seq = {sender.uuid: seq for seq, (sender, _) in enumerate(messages, 1)}
        assert {uuid: member.read_seq for uuid, member in state.members.items()} == {
            **dict.fromkeys(state.members, 0),
            **last_seq,
        }
    assert run_doctor(client, TABLE, people=People(*USERS), clock=tomorrow).findings == []
