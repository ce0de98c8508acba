"""A stream worker that was down: the followers of an inbox reload it, and lose no conversation silently."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from lib.clock import now
from lib.ddb.cursors import CursorSigner
from lib.ddb.store import StreamedMessageStore
from lib.ddb.table import Table
from tests.support import scripts
from tests.support.api import Api, ok, refused, run_api
from tests.support.api_server import ApiServer
from tests.support.event_stream import Stream
from tests.support.lists import feed_cursor, moved, texts

api = pytest.fixture(scope="module")(run_api)

DOWN_SECONDS = 12  # longer than the feed's window
FRIENDS = 10


@pytest.fixture
def server(api: Api, tmp_path: Path) -> Iterator[ApiServer]:
    variables = api.server_variables() | {"GROUP_UPDATES": "stream", "WEB_CONCURRENCY": "1"}
    server = ApiServer(tmp_path / "server.log", **variables)
    server.start()
    yield server
    server.stop()


def store_of(api: Api, **behind: float) -> StreamedMessageStore:
    """A store in stream mode whose clock is behind, so that its messages look as old."""
    table = Table(api.dynamodb, api.settings.ddb_table)
    return StreamedMessageStore(table, CursorSigner("any"), clock=lambda: now() - timedelta(**behind))


def run_worker(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker read the whole stream. With the database, it wakes the members' streams."""
    for name, value in (api.server_variables() | {"LOCAL_DIR": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    assert scripts.run("ddb/stream-worker", "--once").returncode == 0


def test_followers_reload_after_a_worker_was_down_for_longer_than_the_window(
    api: Api, server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, *friends = (api.sign_up() for _ in range(1 + FRIENDS))
    first = store_of(api, minutes=1)
    groups = [first.send_to_user(sender=friend.user, receiver=anna.user, text="first").group_uuid for friend in friends]
    stream, since = Stream(server.port, anna), feed_cursor(anna)
    assert stream.next().name == "hello"

    late = [f"late {number}" for number in range(FRIENDS)]
    for friend, group, text in zip(friends, groups, late, strict=True):
        store_of(api, seconds=DOWN_SECONDS).send(group_uuid=group, sender=friend.user, text=text)
    api.sign_up().write("a young conversation", to=anna)  # it lifts the floors
    page = moved(anna, since)
    assert texts(page) == ["a young conversation"]
    of_messages = feed_cursor(anna, f"/api/messages/{groups[0]}")
    run_worker(api, tmp_path, monkeypatch)

    for cursor in (page.headers["Feed-Cursor"], of_messages, since):
        assert refused(anna.get("/api/message_groups", since=cursor)) == (410, ["cursor_outdated"])
    listed = anna.get("/api/message_groups")
    assert {row["message"] for row in ok(listed)} == {*late, "a young conversation"}
    assert texts(moved(anna, listed.headers["Feed-Cursor"])) == []

    while (event := stream.next()).name != "reload":
        assert event.data["message"] == "a young conversation"
    assert event.id
    stream.close()
