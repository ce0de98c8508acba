"""bin/ddb/seed on a real engine: the seeded conversation and a very long one, both added once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lib.aws.dynamodb_client import DynamoDBClient
from lib.aws.metering import start_metering
from lib.config import ROOT, DynamoDBSettings
from lib.ddb.table import Table
from lib.postgres.database import Database
from lib.users.accounts import User
from lib.users.directory import UserDirectory
from tests.support.ddb_scripts import Run, run_in_process, seeded_database, use_table
from tests.support.stores import TableContents, stores_on
from tools.postgres.migrations import migrate
from tools.seed.conversation import CONVERSATION_UUID, HANDLES, MANY_HANDLES, conversation_uuid, seed_conversation

LINES = json.loads((ROOT / "db/conversation.json").read_text(encoding="utf-8"))
TIMES = [line["at"] for line in LINES]
COUNT = 500

database = pytest.fixture(scope="module")(seeded_database)
run = pytest.fixture(run_in_process)


@pytest.fixture(autouse=True)
def users(database: str, dynamodb_url: str, table: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[UserDirectory]:
    """The users that the script finds. It works on the test's table."""
    use_table(dynamodb_url, table, monkeypatch)
    monkeypatch.setenv("DATABASE_URL", database)
    with Database(database) as opened:
        yield UserDirectory(opened)


def people(users: UserDirectory, handles: tuple[str, str]) -> list[User]:
    return [user for handle in handles if (user := users.by_handle(handle))]


def test_seeded_messages_have_the_same_times_and_uuids_in_every_table(
    run: Run, contents: TableContents, users: UserDirectory
) -> None:
    assert run("seed")[0] == 0
    contents.check(CONVERSATION_UUID, [line["message"] for line in LINES])
    messages = contents.messages(CONVERSATION_UUID)
    lines = [{"at": message.created_at, "from": message.sender.handle, "message": message.text} for message in messages]
    assert lines == LINES
    assert all(message.sender in people(users, HANDLES) for message in messages)
    uuids = [message.uuid for message in messages]
    assert len(set(uuids)) == len(LINES)
    assert uuids[0] == "aa3a07ea-325a-5625-8f46-f386b4827947"
    assert uuids[-1] == "2ffce1e8-5565-5d2e-adf0-764e6279ff5a"


def test_second_run_adds_nothing_at_the_cost_of_one_read(
    run: Run, contents: TableContents, dynamodb_client: Any, dynamodb_url: str, table: str, users: UserDirectory
) -> None:
    run("seed")
    _, bayko = people(users, HANDLES)
    stores_on(dynamodb_client, table)().send(group_uuid=CONVERSATION_UUID, sender=bayko, text="written since")
    before = contents.items()
    metered = DynamoDBClient(DynamoDBSettings(aws_default_region="us-east-1", aws_endpoint_url_dynamodb=dynamodb_url))
    usage = start_metering()
    assert seed_conversation(Table(metered, table), users) == 0
    assert usage.requests == 1
    assert contents.items() == before


def test_missing_user_is_named_with_the_remedy(
    run: Run, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    monkeypatch.setenv("DATABASE_URL", url)
    migrate(url)
    assert run("seed") == (1, [], "The user Augustsz is not in Postgres: run ./bin/db/setup first\n")


def test_many_adds_a_long_conversation_once_beside_the_seeded_one(
    run: Run, contents: TableContents, users: UserDirectory
) -> None:
    group_uuid, members = conversation_uuid(COUNT), people(users, MANY_HANDLES)
    assert run("seed")[0] == 0
    status, data, printed = run("seed", "--many", str(COUNT))
    assert (status, data) == (0, [])
    assert f"conversation {group_uuid}: {COUNT} messages added\n" in printed
    messages = contents.messages(group_uuid)
    contents.check(group_uuid, [message.text for message in messages])
    assert [message.text.partition(":")[0] for message in messages] == [str(n) for n in range(1, COUNT + 1)]
    assert [message.uuid for message in messages] == [f"{group_uuid[:24]}{n:012x}" for n in range(1, COUNT + 1)]
    assert {message.sender for message in messages} == set(members)
    assert run("doctor")[0] == 0
    assert run(*printed.splitlines()[-1].removeprefix("./bin/ddb/").split()[:2])[0] == 0  # the command it recommends
    status, _, printed = run("seed", "--many", str(COUNT))
    assert (status, "nothing to add, all messages exist" in printed) == (0, True)


def test_pair_with_a_conversation_is_refused(
    run: Run, contents: TableContents, dynamodb_client: Any, table: str, users: UserDirectory
) -> None:
    sender, receiver = people(users, MANY_HANDLES)
    group_uuid = (
        stores_on(dynamodb_client, table)().send_to_user(sender=sender, receiver=receiver, text="hi").group_uuid
    )
    before = contents.items()
    status, _, printed = run("seed", "--many", "3")
    assert status == 1
    assert printed.startswith(f"bayko and londo already have the conversation {group_uuid}, ")
    assert contents.items() == before


def test_default_count_is_a_million(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    monkeypatch.setattr(
        "tools.seed.conversation.seed_conversation", lambda table, users, count, on_progress: counts.append(count) or 0
    )
    assert [run("seed", "--many", *count)[0] for count in ([], ["0"], ["many"])] == [0, 2, 2]
    assert counts == [1_000_000]
