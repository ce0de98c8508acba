"""Today's names: every response shows users as they are in Postgres, although the items have copies of older names."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

from lib.postgres.database import Database
from lib.postgres.errors import DatabaseUnavailable
from lib.users import directory
from lib.users.cache import CACHED_SECONDS
from lib.users.directory import UserDirectory
from tests.support.api import JSON, Api, Person, ok, run_api
from tests.support.clocks import FrozenTime

api = pytest.fixture(scope="module")(run_api)

Names = dict[str, Any]


def rename(api: Api, person: Person, name: str) -> None:
    """Change both names in Postgres alone."""
    api.execute("UPDATE users SET display_name = %s, handle = 'x' || handle WHERE uuid = %s", name, person.user.uuid)


def remove(api: Api, person: Person) -> None:
    api.execute("DELETE FROM users WHERE uuid = %s", person.user.uuid)


def names(fields: JSON) -> Names:
    return {name: fields[name] for name in ("handle", "display_name", "deleted") if name in fields}


def shown(reader: Person, group: str, user_uuid: str) -> list[Names]:
    """How the reader sees a user: in the messages, in the inbox and in the conversation."""
    [message, *_] = [fields for fields in reader.messages(group) if fields["user_uuid"] == user_uuid]
    rows = [fields for fields in reader.inbox() if fields["user_uuid"] == user_uuid]
    members = ok(reader.get(f"/api/message_groups/{group}"))["members"]
    return [names(fields) for fields in (message, *rows, *(one for one in members if one["user_uuid"] == user_uuid))]


@pytest.mark.parametrize("group_updates", ["inline", "stream"])
def test_new_names_are_shown_everywhere_and_no_item_changes(api: Api, group_updates: str) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    items = api.items()
    rename(api, anna, "Anna Neu")
    today = {"handle": f"x{anna.user.handle}", "display_name": "Anna Neu"}
    with api.variant(group_updates=group_updates) as process:
        reader, renamed = process.sign_in(bert.user), process.sign_in(anna.user)
        assert shown(reader, group, anna.user.uuid) == [today] * 3
        assert shown(renamed, group, anna.user.uuid) == [today] * 2
        assert [names(row) for row in reader.inbox(since=feed_cursor(reader))] == []
        assert api.items() == items
        assert names(renamed.reply("again", group=group)) == today


def feed_cursor(person: Person) -> str:
    return str(person.get("/api/message_groups").headers["Feed-Cursor"])


def test_repeated_send_shows_the_names_of_today(api: Api) -> None:
    anna, bert = api.couple()
    headers = {**anna.headers, "Idempotency-Key": "once"}
    body = {"message": "hello", "handle": bert.user.handle}
    first = ok(anna.client.post("/api/messages", headers=headers, json=body))
    rename(api, anna, "Anna Neu")
    with api.variant() as process:
        again = ok(process.sign_in(anna.user).client.post("/api/messages", headers=headers, json=body))
    assert again == first | {"handle": f"x{anna.user.handle}", "display_name": "Anna Neu"}


def test_process_that_has_cached_the_old_names_asks_again_after_a_minute(api: Api) -> None:
    anna, time = api.sign_up("anna"), FrozenTime()
    with Database(api.database_url) as database:
        users = UserDirectory(database, timer=time.monotonic)
        assert users.current([anna.user.uuid]) == {anna.user.uuid: anna.user}
        rename(api, anna, "Anna Neu")
        time.ahead = CACHED_SECONDS - 1
        assert users.current([anna.user.uuid]) == {anna.user.uuid: anna.user}
        time.ahead = CACHED_SECONDS
        renamed = users.current([anna.user.uuid])[anna.user.uuid]
        assert renamed
        assert renamed.display_name == "Anna Neu"


@pytest.mark.parametrize("has_changed_before", [False, True])
def test_deleted_user_keeps_the_stored_names_and_is_marked(api: Api, has_changed_before: bool) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    if has_changed_before:
        rename(api, anna, "Anna Neu")
    remove(api, anna)
    stored = {"handle": anna.user.handle, "display_name": "Anna", "deleted": True}
    with api.variant() as process:
        reader = process.sign_in(bert.user)
        assert shown(reader, group, anna.user.uuid) == [stored] * 3
        lines = len(process.lines())
        assert shown(reader, group, anna.user.uuid) == [stored] * 3
        assert [line["postgres_requests"] for line in process.lines()[lines:]] == [0, 0, 0]


def fail(*_: Any, **__: Any) -> Any:
    raise DatabaseUnavailable("Postgres is away")


@pytest.mark.parametrize("knows", [False, True])
def test_stored_names_serve_while_postgres_is_away(api: Api, knows: bool) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    rename(api, anna, "Anna Neu")
    with api.variant() as process:
        reader = process.sign_in(bert.user)
        reader.get("/api/unread")  # the process knows the caller
        if knows:
            reader.messages(group)
        users = process.app.extensions["dependencies"].users
        with patch.object(users._database, "all", side_effect=fail) as query:
            expected = "Anna Neu" if knows else "Anna"
            assert {one["display_name"] for one in shown(reader, group, anna.user.uuid)} == {expected}
            assert query.call_count == (0 if knows else 1), "after a failure, lists do not wait for Postgres again"


def test_names_are_looked_up_again_soon_after_an_outage(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_NAMES_PAUSE_SECONDS", 0)
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    rename(api, anna, "Anna Neu")
    with api.variant() as process:
        reader = process.sign_in(bert.user)
        reader.get("/api/unread")
        users = process.app.extensions["dependencies"].users
        with patch.object(users._database, "all", side_effect=fail):
            assert reader.messages(group)[0]["display_name"] == "Anna"
        assert reader.messages(group)[0]["display_name"] == "Anna Neu"
