"""bin/ddb/seed --many on a real engine: what it loaded is served, sound, and added once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from lib.clock import from_timestamp
from lib.ddb.cursors import CursorSigner
from lib.ddb.items import Message
from lib.ddb.store import MessageStore
from lib.ddb.table import Table
from lib.postgres.database import Database
from lib.users.directory import User, UserDirectory
from tests.support.ddb_scripts import Run, run_in_process, seeded_database, take_for_foreign, use_table
from tests.support.stores import TableContents, all_pages, positions_of
from tools.seed import bulk
from tools.seed.bulk import BulkLoader
from tools.seed.conversation import MANY_HANDLES, conversation_uuid

COUNT = 500
GROUP = conversation_uuid(COUNT)

database = pytest.fixture(scope="module")(seeded_database)
settings = pytest.fixture(autouse=True)(use_table)
run = pytest.fixture(run_in_process)


@pytest.fixture
def store(dynamodb_client: Any, table: str, database: str, monkeypatch: pytest.MonkeyPatch) -> MessageStore:
    monkeypatch.setenv("DATABASE_URL", database)
    return MessageStore(Table(dynamodb_client, table), CursorSigner("any"))


@pytest.fixture
def people(database: str) -> list[User]:
    with Database(database) as opened:
        found = [UserDirectory(opened).by_handle(handle) for handle in MANY_HANDLES]
    return [user for user in found if user]


def messages(store: MessageStore, user: User) -> list[Message]:
    """All messages, the oldest first, page by page."""
    pages = all_pages(lambda cursor: store.list_messages(group_uuid=GROUP, user=user, limit=100, cursor=cursor))
    return pages[::-1]


def test_a_long_conversation_is_served_checked_and_written_on(
    run: Run, store: MessageStore, people: list[User]
) -> None:
    bayko, londo = people
    assert run("seed")[0] == 0
    status, data, said = run("seed", "--many", str(COUNT))
    assert (status, data) == (0, [])
    assert f"conversation {GROUP}: {COUNT} messages added\n" in said
    written = messages(store, londo)
    assert [message.seq for message in written] == list(range(1, COUNT + 1))
    assert [message.text.partition(":")[0] for message in written] == [str(n) for n in range(1, COUNT + 1)]
    assert all(earlier.created_at < later.created_at for earlier, later in pairwise(written))
    assert {message.sender for message in written} == {bayko, londo}
    assert len({message.uuid for message in written}) == COUNT
    last = written[-1]
    [row] = store.list_inbox(user_uuid=londo.uuid, limit=100, cursor=None).items
    assert (row.group_uuid, row.text, row.last_message_at) == (GROUP, last.text, last.created_at)
    assert run("doctor")[0] == 0
    assert run(*said.splitlines()[-1].removeprefix("./bin/ddb/").split()[:2])[0] == 0  # as it says
    reply = store.send(group_uuid=GROUP, sender=londo, text="at last")
    assert reply.seq == COUNT + 1
    assert from_timestamp(reply.created_at) > from_timestamp(last.created_at)
    assert positions_of(store).mark_read(group_uuid=GROUP, user=bayko, seq=COUNT + 1).members[bayko.uuid].read_seq == (
        COUNT + 1
    )
    assert run("doctor")[0] == 0
    status, _, said = run("seed", "--many", str(COUNT))
    assert (status, "nothing to add, every message is there" in said) == (0, True)
    assert len(messages(store, londo)) == COUNT + 1


def test_an_interrupted_run_says_so_and_is_continued(
    run: Run, store: MessageStore, people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = BulkLoader._put

    def interrupted(loader: BulkLoader, batch: list[Message]) -> int:
        if (batch[0].seq or 0) > COUNT - 30:
            raise KeyboardInterrupt
        return put(loader, batch)

    monkeypatch.setattr(BulkLoader, "_put", interrupted)
    assert run("seed", "--many", str(COUNT)) == (130, [], "Interrupted\n")
    assert store.list_inbox(user_uuid=people[0].uuid, limit=100, cursor=None).items == []
    monkeypatch.setattr(BulkLoader, "_put", put)
    _, _, said = run("seed", "--many", str(COUNT))
    added = int(said.partition(f"{GROUP}: ")[2].split()[0])
    assert added <= 30 + bulk._WINDOW * bulk._BATCH + bulk._BATCH
    assert [message.seq for message in messages(store, people[0])] == list(range(1, COUNT + 1))
    assert run("doctor")[0] == 0


def test_two_who_talk_already_are_left_alone(
    run: Run, store: MessageStore, people: list[User], dynamodb_client: Any, table: str
) -> None:
    theirs = store.send_to_user(sender=people[0], receiver=people[1], text="hello").group_uuid
    before = TableContents(dynamodb_client, table).items()
    status, _, said = run("seed", "--many", "3")
    assert status == 1
    assert said.startswith(f"bayko and londo talk already, in {theirs}, and a pair has one conversation")
    assert TableContents(dynamodb_client, table).items() == before


def test_other_tables_are_guarded(run: Run, store: MessageStore, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_for_foreign(monkeypatch)
    status, _, said = run("seed", "--many", "3")
    assert (status, said.startswith("Refused to add a conversation of 3 messages: ")) == (1, True)
    assert run("seed", "prod", "--yes", "--many", "3")[0] == 0


@pytest.mark.parametrize("count", ["0", "many", "-1"])
def test_a_count_that_is_none_is_a_wrong_usage(count: str, run: Run, store: MessageStore) -> None:
    assert run("seed", "--many", count)[0] == 2


def test_the_number_is_a_million_unless_it_is_given(
    run: Run, store: MessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(
        "tools.seed.conversation.seed_conversation", lambda table, users, count, each: counts.append(count) or 0
    )
    assert run("seed", "--many")[0] == 0
    assert counts == [1_000_000]
