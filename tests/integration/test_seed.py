"""The seeded conversation: added once, with its own times, also after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.aws.dynamodb_client import DynamoDBClient
from lib.aws.metering import start_metering
from lib.clock import from_timestamp, to_timestamp
from lib.config import ROOT, DynamoDBSettings
from lib.ddb.cursors import CursorSigner
from lib.ddb.items import InboxRow, Message
from lib.ddb.store import MessageStore
from lib.ddb.table import Table
from lib.postgres.database import Database
from lib.users.directory import User, UserDirectory
from tools.seed.bulk import BulkLoader, ConversationRefused
from tools.seed.conversation import CONVERSATION_UUID, HANDLES, seed_conversation, seed_users

LINES = json.loads((ROOT / "db/conversation.json").read_text(encoding="utf-8"))
SCRIPT = [(line["from"], line["message"]) for line in LINES]
TIMES = [line["at"] for line in LINES]
AUGUSTSZ, BAYKO = HANDLES


@pytest.fixture
def store(dynamodb_client: Any, table: str) -> MessageStore:
    """The conversations as another process works on them."""
    return MessageStore(Table(dynamodb_client, table), CursorSigner("another process"))


@pytest.fixture(scope="module")
def users(postgres_url: str) -> Iterator[UserDirectory]:
    with Database(postgres_url) as database:
        database.script("db/schema.sql")
        seed_users(database)
        yield UserDirectory(database)


@pytest.fixture
def seed(dynamodb_client: Any, table: str, users: UserDirectory) -> Callable[[], int]:
    """Seed the test's table."""
    return lambda: seed_conversation(Table(dynamodb_client, table), users)


def person(users: UserDirectory, handle: str) -> User:
    user = users.by_handle(handle)
    assert user is not None
    return user


def messages(store: MessageStore, user: User) -> list[Message]:
    """All messages, oldest first."""
    return store.list_messages(group_uuid=CONVERSATION_UUID, user=user, limit=100, cursor=None).items[::-1]


def inbox(store: MessageStore, user: User) -> list[InboxRow]:
    return store.list_inbox(user_uuid=user.uuid, limit=100, cursor=None).items


def texts(written: list[Message]) -> list[tuple[str, str]]:
    return [(message.sender.handle, message.text) for message in written]


def test_the_script_is_a_conversation_over_days_and_a_years_end() -> None:
    assert len(LINES) >= 40
    assert {line["from"] for line in LINES} == set(HANDLES)
    assert sorted(set(TIMES)) == TIMES
    assert [to_timestamp(from_timestamp(at)) for at in TIMES] == TIMES
    assert {at[:4] for at in TIMES} == {"2025", "2026"}
    assert len({at[:10] for at in TIMES}) >= 5
    assert from_timestamp(TIMES[-1]) < datetime(2026, 2, 1, tzinfo=UTC)


def test_every_message_keeps_its_time_and_both_inboxes_show_the_last(
    seed: Callable[[], int], store: MessageStore, users: UserDirectory
) -> None:
    assert seed() == len(LINES)
    written = messages(store, person(users, BAYKO))
    assert texts(written) == SCRIPT
    assert [message.seq for message in written] == list(range(1, len(LINES) + 1))
    assert [message.created_at for message in written] == TIMES
    assert len({message.uuid for message in written}) == len(LINES)
    # The same in every table:
    assert written[0].uuid == "aa3a07ea-325a-5625-8f46-f386b4827947"
    assert written[-1].uuid == "2ffce1e8-5565-5d2e-adf0-764e6279ff5a"
    for handle, other in [(AUGUSTSZ, BAYKO), (BAYKO, AUGUSTSZ)]:
        [row] = inbox(store, person(users, handle))
        assert (row.group_uuid, row.other) == (CONVERSATION_UUID, person(users, other))
        assert (row.last_message_at, row.text, row.seq) == (TIMES[-1], LINES[-1]["message"], len(LINES))


def test_a_second_run_adds_nothing_at_the_cost_of_one_read(
    seed: Callable[[], int], table: str, dynamodb_url: str, store: MessageStore, users: UserDirectory
) -> None:
    seed()
    store.send(group_uuid=CONVERSATION_UUID, sender=person(users, BAYKO), text="written since")
    metered = DynamoDBClient(DynamoDBSettings(aws_default_region="us-east-1", aws_endpoint_url_dynamodb=dynamodb_url))
    usage = start_metering()
    assert seed_conversation(Table(metered, table), users) == 0
    assert usage.requests == 1
    assert texts(messages(store, person(users, BAYKO))) == [*SCRIPT, (BAYKO, "written since")]


def test_interrupted_run_is_continued(
    seed: Callable[[], int], store: MessageStore, users: UserDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(loader: BulkLoader, *arguments: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(BulkLoader, "_start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            seed()
    assert inbox(store, person(users, BAYKO)) == []
    seed()
    written = messages(store, person(users, BAYKO))
    assert (texts(written), [message.created_at for message in written]) == (SCRIPT, TIMES)


def test_users_that_are_not_there_are_named_with_what_to_do(
    dynamodb_client: Any, table: str, new_database: Callable[[], str]
) -> None:
    with Database(new_database()) as database:
        database.script("db/schema.sql")
        with pytest.raises(ConversationRefused, match=r"Augustsz is not in Postgres: run \./bin/db/setup first"):
            seed_conversation(Table(dynamodb_client, table), UserDirectory(database))


def test_a_pair_that_talks_elsewhere_is_left_alone(
    seed: Callable[[], int], store: MessageStore, users: UserDirectory
) -> None:
    theirs = store.send_to_user(sender=person(users, BAYKO), receiver=person(users, AUGUSTSZ), text="hello")
    with pytest.raises(ConversationRefused, match=f"talk already, in {theirs.group_uuid}"):
        seed()
    assert [row.seq for row in inbox(store, person(users, BAYKO))] == [1]


def test_a_conversation_of_others_with_that_uuid_is_left_alone(
    seed: Callable[[], int], dynamodb_client: Any, table: str, users: UserDirectory
) -> None:
    londo = person(users, "londo")
    store = MessageStore(Table(dynamodb_client, table), CursorSigner("any"), new_uuid=lambda: CONVERSATION_UUID)
    store.send_to_user(sender=londo, receiver=person(users, BAYKO), text="hello")
    with pytest.raises(ConversationRefused, match="other people's"):
        seed()
    assert texts(messages(store, londo)) == [("londo", "hello")]
