"""Two hundred messages through the function while everything goes wrong: the table ends as if nothing had.

Batches come twice, in any order and shuffled within; the function dies before and after its calls; one record is
poison; conversations change from one mode to the other. Each run has another seed, which is printed: a failure can
be repeated with FAULT_SEED.
"""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import boto3
import pytest
from botocore.config import Config

from lib.ddb.items import Item
from lib.ddb.schema import create_table
from lib.ddb.store import MessageStore
from lib.users.directory import User
from tests.support.doctor_fixtures import People, run_doctor, tomorrow
from tests.support.stores import TableContents, stores_on
from tests.support.streamed import failures, load_handler, numbers, record, stream_records, streamed_stores_on

SEED = int(os.environ.get("FAULT_SEED", "0")) or random.randrange(1, 2**32)  # noqa: S311
MESSAGES, CONVERSATIONS, USERS, ROUNDS = 200, 20, 12, 4
CRASHES = 25
POISON_DELIVERIES = 3
PEOPLE = [User(f"{n:08}-0000-4000-8000-000000000000", f"user-{n}", f"User {n}") for n in range(USERS)]
TIMES = ("created_at", "last_message_at")

Records = list[dict[str, Any]]


class Crash(BaseException):
    """The function's process is gone."""


@dataclass(frozen=True)
class Line:
    """A message to be sent."""

    group_uuid: str
    uuid: str
    sender: User
    other: User
    text: str


class Sender:
    """Sends lines under their own names."""

    def __init__(self, new_store: Callable[..., MessageStore]) -> None:
        self._names: Iterator[str] = iter(())
        self._store = new_store(new_uuid=lambda: next(self._names))

    def start(self, line: Line) -> None:
        self._names = iter([line.group_uuid, line.uuid, *repeat(line.uuid, 9)])
        self._store.send_to_user(sender=line.sender, receiver=line.other, text=line.text)

    def send(self, line: Line) -> None:
        self._names = repeat(line.uuid)
        self._store.send(group_uuid=line.group_uuid, sender=line.sender, text=line.text)


class Function:
    """The deployed function and what delivers to it, both as bad as they may be."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._module = load_handler("message_stream")
        self._crashes = 0
        self._connections = self._module._updates()._table._client.connections
        self._send, self._connections.post = self._connections.post, self._post
        self.dead: Records = []

    def deliver(self, records: Records) -> None:
        """Every record at least twice, until each has been taken or given up."""
        batches = list(self._batches(records))
        queue = [list(batch) for batch in batches + batches]
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
            if failed:  # Lambda goes on at the first failure
                rest = batch[numbers(batch).index(failed[0]) :]
                attempts += 1
                if attempts >= POISON_DELIVERIES:
                    self.dead.append(rest.pop(0))
                    attempts = 0
                queue.append(rest)

    def _batches(self, records: Records) -> Iterator[Records]:
        at = 0
        while at < len(records):
            size = self._chance.randint(1, 80)
            yield records[at : at + size]
            at += size

    def _post(self, *arguments: Any, **named: Any) -> Any:
        self._crash()
        answer = self._send(*arguments, **named)
        self._crash()
        return answer

    def _crash(self) -> None:
        if self._crashes < CRASHES and self._chance.random() < 0.1:
            self._crashes += 1
            raise Crash


def plan(chance: random.Random) -> list[Line]:
    pairs = chance.sample([(a, b) for a in PEOPLE for b in PEOPLE if a.uuid < b.uuid], CONVERSATIONS)
    lines = []
    for number in range(MESSAGES):
        group = chance.randrange(CONVERSATIONS)
        sender, other = chance.sample(pairs[group], 2)
        lines.append(Line(f"{group:08}-1111-4111-8111-111111111111", f"uuid-{number}", sender, other, f"text {number}"))
    return lines


def without_times(items: list[Item]) -> list[Item]:
    """The items, to compare but for times; a sort key other than STATE is one."""
    kept = [
        {name: value for name, value in item.items() if name not in TIMES and (name, value) != ("sk", item["sk"])}
        | ({"sk": item["sk"]} if item["sk"] == {"S": "STATE"} else {})
        for item in items
    ]
    return sorted(kept, key=lambda item: (item["pk"]["S"], repr(item.get("message_uuid")), repr(sorted(item))))


def check_times(items: list[Item]) -> None:
    """The messages' times are in the order of their numbers, and the state and both rows stand at the last one."""
    at = {(item["pk"]["S"], item["seq"]["N"]): item["sk"]["S"] for item in items if "message_uuid" in item}
    states = [item for item in items if "members" in item]
    for state in states:
        group, last = state["pk"]["S"].removeprefix("CONV#"), int(state["seq"]["N"])
        times = [at[f"MSG#{group}", str(seq)] for seq in range(1, last + 1)]
        rows = [item["sk"]["S"] for item in items if item.get("message_group_uuid") == {"S": group}]
        assert times == sorted(times)
        assert rows + [state["last_message_at"]["S"]] == 3 * [times[-1]]
    assert len(states) == CONVERSATIONS


@pytest.fixture
def tables(fresh_dynamodb_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str, str]]:
    client = boto3.client("dynamodb", endpoint_url=fresh_dynamodb_url, config=Config(retries={"mode": "standard"}))
    names = [f"messages-{uuid.uuid4().hex}" for _ in range(2)]
    for name in names:
        create_table(client, name)
    monkeypatch.setenv("DDB_TABLE", names[0])
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", fresh_dynamodb_url)
    yield client, names[0], names[1]
    for name in names:
        client.delete_table(TableName=name)
    client.close()


def test_table_is_what_inline_mode_leaves_whatever_happens_to_the_function(tables: tuple[Any, str, str]) -> None:
    print(f"FAULT_SEED={SEED}")  # noqa: T201 - shown when the test fails
    chance = random.Random(SEED)  # noqa: S311
    client, table, reference = tables
    lines = plan(chance)
    inline_alone = Sender(stores_on(client, reference))
    senders = [Sender(stores_on(client, table)), Sender(streamed_stores_on(client, table))]
    function = Function(chance)
    begun: set[str] = set()
    delivered: Records = []
    for at in range(0, MESSAGES, MESSAGES // ROUNDS):
        modes = {line.group_uuid: chance.choice(senders) for line in lines}
        for line in lines[at : at + MESSAGES // ROUNDS]:
            for sender in (inline_alone, modes[line.group_uuid]):
                (sender.send if line.group_uuid in begun else sender.start)(line)
            begun.add(line.group_uuid)
        known = set(numbers(delivered))
        new = [each for each in stream_records(client, table) if each["dynamodb"]["SequenceNumber"] not in known]
        again = chance.sample(delivered, len(delivered) // 5)
        poison = record({"pk": {"S": f"MSG#{lines[at].group_uuid}"}, "sk": {"S": "2026-01-01T00:00:00.000000+00:00"}})
        new.insert(chance.randrange(len(new)), poison)
        function.deliver(new + again)
        delivered += [each for each in new if each is not poison]
        assert {each["eventID"] for each in function.dead} == {poison["eventID"]}
        function.dead.clear()

    left, expected = (TableContents(client, name).items() for name in (table, reference))
    assert without_times(left) == without_times(expected)
    check_times(left)
    assert run_doctor(client, table, people=People(*PEOPLE), clock=tomorrow).findings == []
