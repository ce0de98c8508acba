"""Clients after the switch to a restored table, which has gone back in time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.ddb.schema import create_table
from tests.support.api import Api, Person, ok, refused, run_api
from tests.support.lists import links, visit
from tests.support.stores import TableContents

api = pytest.fixture(scope="module")(run_api)

KEY = {"Idempotency-Key": "a-key-of-the-outbox"}


@pytest.fixture
def people(api: Api) -> tuple[Person, Person]:
    return api.couple()


@pytest.fixture
def group(people: tuple[Person, Person]) -> str:
    anna, bert = people
    anna.write("one", to=bert)
    return str(bert.write("two", to=anna)["message_group_uuid"])


@pytest.fixture
def restored(api: Api, group: str) -> Iterator[Api]:
    """A process on another table, with the items of now."""
    table = f"{api.settings.ddb_table}-restored"
    create_table(api.boto3, table)
    TableContents(api.boto3, table).put(*api.items())
    with api.variant(ddb_table=table) as other:
        yield other
    api.boto3.delete_table(TableName=table)


def test_feed_cursor_of_the_table_before_is_refused_and_the_listed_inbox_has_the_new_messages(
    people: tuple[Person, Person], group: str, restored: Api
) -> None:
    anna, bert = people
    for text in ("lost", "lost, too"):
        anna.reply(text, group=group)
    cursor = bert.get("/api/message_groups").headers["Feed-Cursor"]
    older = links(bert.get(f"/api/messages/{group}", limit=1))["next"]
    writer, reader = restored.sign_in(anna.user), restored.sign_in(bert.user)
    writer.reply("three", group=group)
    invalid = reader.get("/api/message_groups", since=cursor)
    assert refused(invalid) == (422, ["cursor_invalid"])
    [row] = reader.inbox()
    assert (row["message"], row["seq"], row["unread_count"]) == ("three", 3, 1)
    assert [message["message"] for message in ok(visit(reader, older))] == ["two"]


def test_send_that_is_repeated_after_the_switch_is_stored_there_once(
    people: tuple[Person, Person], group: str, restored: Api
) -> None:
    anna, _ = people
    body = b'{"message": "lost", "message_group_uuid": "%s"}' % group.encode()
    assert ok(anna.post_bytes(body, headers=KEY))["seq"] == 3
    again = restored.sign_in(anna.user)
    first, second = (ok(again.post_bytes(body, headers=KEY)) for _ in range(2))
    assert (first, first["seq"]) == (second, 3)
    assert [message["message"] for message in again.messages(group)] == ["lost", "two", "one"]
