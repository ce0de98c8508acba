"""The feed over HTTP: the conversations of an inbox that moved since a cursor."""

from __future__ import annotations

import uuid
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from lib.clock import now, to_timestamp
from lib.ddb.items import InboxRow
from tests.support.api import Api, ok, run_api
from tests.support.lists import INBOX, conversation, feed_cursor, links, moved, texts, visit, walk

api = pytest.fixture(scope="module")(run_api)


def test_feed_returns_each_move_since_the_list_once(api: Api) -> None:
    anna, bert = api.couple()
    carl = api.sign_up("carl")
    anna.write("before", to=bert)
    since = feed_cursor(anna)
    carl.write("to anna", to=anna)
    anna.write("to bert", to=bert)
    first = moved(anna, since)
    assert texts(first) == ["to anna", "to bert"]
    assert ok(first) == anna.inbox()[::-1]
    assert "Link" not in first.headers
    second = moved(anna, first.headers["Feed-Cursor"])
    assert texts(second) == []
    group = bert.write("back", to=anna)["message_group_uuid"]
    third = moved(anna, second.headers["Feed-Cursor"])
    assert texts(third) == ["back"]
    anna.client.post(f"{INBOX}/{group}/read", headers=anna.headers, json={"seq": 2})
    assert texts(moved(anna, third.headers["Feed-Cursor"])) == [], "reading moves no conversation"
    assert texts(moved(anna, since)) == ["to anna", "back"], "a cursor can be used again"


def test_feed_of_a_message_list_covers_all_conversations(api: Api) -> None:
    anna, bert = api.couple()
    group = bert.write("hello", to=anna)["message_group_uuid"]
    since = feed_cursor(anna, f"/api/messages/{group}")
    assert texts(moved(anna, since)) == []
    api.sign_up("carl").write("I am carl", to=anna)
    bert.write("again", to=anna)
    assert texts(moved(anna, since)) == ["I am carl", "again"]


def test_links_lead_through_a_feed_and_its_cursor_continues_it(api: Api) -> None:
    anna = api.sign_up("anna")
    since = feed_cursor(anna)
    for number in range(5):
        api.sign_up("other").write(f"{number}", to=anna)
    pages = list(walk(anna, f"{INBOX}?since={since}&limit=2"))
    assert [texts(page) for page in pages] == [["0", "1"], ["2", "3"], ["4"]]
    for page in pages[:-1]:
        query = parse_qs(urlsplit(links(page)["next"]).query)
        assert query == {"since": [page.headers["Feed-Cursor"]], "limit": ["2"]}
    assert texts(moved(anna, pages[0].headers["Feed-Cursor"])) == ["2", "3", "4"]
    assert texts(moved(anna, pages[-1].headers["Feed-Cursor"])) == []


@pytest.mark.parametrize(("seconds", "late_rows"), [(10, []), (3600, ["committed late"])])
def test_feed_window_is_a_setting(api: Api, seconds: int, late_rows: list[str]) -> None:
    anna, bert = api.couple()
    bert.write("hello", to=anna)
    with api.variant(feed_window_seconds=seconds) as variant:
        reader = variant.sign_in(anna.user)
        since = feed_cursor(reader)
        past = to_timestamp(now() - timedelta(seconds=60))
        late = InboxRow(
            anna.user.uuid, past, str(uuid.uuid4()), "committed late", bert.user, 1, 0, bert.user.uuid, None
        )
        api.dynamodb.put_item(TableName=api.settings.ddb_table, Item=late.to_item())
        first = moved(reader, since)
        assert texts(first) == late_rows
        assert texts(moved(reader, first.headers["Feed-Cursor"])) == []


def test_first_page_of_a_list_has_a_feed_cursor_and_a_page_by_cursor_has_none(api: Api) -> None:
    anna, path, sent = conversation(api, 3)
    anna.write("hello", to=api.sign_up())
    for url in (path, INBOX):
        first = visit(anna, f"{url}?limit=1")
        assert "Feed-Cursor" in first.headers
        assert "Feed-Cursor" not in visit(anna, links(first)["next"]).headers
    middle = sent[1]["created_at"]
    queries: list[dict[str, str]] = [{}, {"before": middle}, {"after": middle}, {"around": middle}]
    cursors = [feed_cursor(anna, path, limit=1, **query) for query in queries]
    api.sign_up("carl").write("from carl", to=anna)
    for cursor in cursors:
        page = moved(anna, cursor)
        assert texts(page)[-1] == "from carl"
        assert texts(moved(anna, page.headers["Feed-Cursor"])) == []
