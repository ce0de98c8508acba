"""The page in stream mode, where a message gets its number, and the inboxes get their rows, after the response."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lib.clock import now
from lib.ddb.cursors import CursorSigner
from lib.ddb.store import StreamedMessageStore
from lib.ddb.table import Table
from tests.support.browser import Windows
from tests.support.clocks import eventually
from tests.support.site import TABLE, Site, run_site

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(engine_folder: Path, new_database: Callable[[], str]) -> Iterator[Site]:
    folder = engine_folder / "stream-mode"
    folder.mkdir(mode=0o711)
    with run_site(folder, new_database(), mode="stream") as running:
        yield running


def test_messages_arrive_are_counted_and_seen(site: Site, windows: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, bert = site.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    annas = windows.open(anna).open(bert)
    berts = windows.open(bert, beside=annas)
    slow = StreamedMessageStore(  # of a server whose clock is slow
        Table(site.dynamodb, TABLE), CursorSigner("any"), clock=lambda: now() - timedelta(seconds=2)
    )
    first_state = slow.conversations.get(group_uuid=group, user=bert.user)
    monkeypatch.setattr(slow.conversations, "get", lambda **_: first_state)  # its sends read it before the function did

    requests: list[str] = []
    annas.page.on("request", lambda request: requests.append(request.url))
    for text in ("two", "three"):
        annas.send(text)
        expect(berts.row(anna)).to_contain_text(text)
    expect(berts.inbox.get_by_label("3 unread")).to_be_visible()
    expect(annas.log.get_by_text("Seen", exact=True)).to_have_count(0)
    berts.open(anna)
    expect(berts.texts).to_have_text(["one", "two", "three"])
    expect(berts.inbox.get_by_label("unread")).to_have_count(0)
    expect(annas.messages.last.locator("+ *")).to_have_text("Seen")
    assert [url for url in requests if "/api/messages/" in url] == []

    berts.send("four")
    expect(annas.texts).to_have_text(["one", "two", "three", "four"])
    slow.send(group_uuid=group, sender=bert.user, text="late")
    for window in (annas, berts):
        expect(window.texts.filter(has_text="late")).to_have_count(1)
        expect(window.texts.last).to_have_text("four")

    annas.page.context.set_offline(True)  # so that one row brings both messages
    slow.send(group_uuid=group, sender=bert.user, text="later")
    bert.write("five", to=anna)
    assert eventually(lambda: anna.inbox()[0]["seq"] == 7)
    annas.page.context.set_offline(False)
    expect(annas.texts).to_have_count(7)
    expect(annas.texts.filter(has_text="later")).to_have_count(1)
