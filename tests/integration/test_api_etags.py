"""ETags: the API responds with 304 to a client that has the current page."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from tests.support.api import Api, Person, ok, refused, run_api
from tests.support.lists import INBOX, conversation, feed_cursor, links, visit

api = pytest.fixture(scope="module")(run_api)


def revalidate(person: Person, path: str, tags: str) -> TestResponse:
    return person.client.get(path, headers={**person.headers, "If-None-Match": tags})


@pytest.mark.parametrize("form", ["{}", "W/{}", '"another", {}', 'W/"another", W/{}', "*"])
def test_unchanged_page_is_a_304(api: Api, form: str) -> None:
    anna, path, sent = conversation(api, 3)
    anna.write("hello", to=api.sign_up())
    middle = sent[1]["created_at"].replace("+", "%2B")
    urls = [f"{INBOX}?limit=1", f"{path}?limit=1", f"{path}?limit=1&around={middle}", f"{path}?after={middle}"]
    for url in [*urls, f"{INBOX}?since={feed_cursor(anna)}"]:
        first = visit(anna, url)
        again = revalidate(anna, url, form.format(first.headers["ETag"]))
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert "Content-Type" not in again.headers
        assert "Feed-Cursor" in again.headers
        assert ("Link" in again.headers) == ("Link" in first.headers)
        for response in (first, again):
            assert response.headers["Cache-Control"] == "private, no-cache"


def test_changed_page_is_sent(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("1", to=bert)["message_group_uuid"]
    tags = {url: visit(anna, url).headers["ETag"] for url in (INBOX, f"/api/messages/{group}")}
    bert.reply("2", group=group)
    for url, tag in tags.items():
        response = revalidate(anna, url, tag)
        assert ok(response)[0]["message"] == "2"
        assert response.headers["ETag"] != tag
    tag = visit(anna, INBOX).headers["ETag"]
    anna.client.post(f"{INBOX}/{group}/read", headers=anna.headers, json={"seq": 2})
    assert ok(revalidate(anna, INBOX, tag))[0]["unread_count"] == 0


def test_etag_covers_content_and_order(api: Api) -> None:
    anna, path, _ = conversation(api, 2)
    tags = [visit(anna, f"{path}?order={order}").headers["ETag"] for order in ("desc", "asc", "desc")]
    assert tags[0] != tags[1]
    assert tags[0] == tags[2]
    for wrong in (tags[1], '"x"', "", ",", "x"):
        assert revalidate(anna, path, wrong).status_code == 200


@pytest.mark.parametrize("place", ["after", "around"])
def test_new_link_changes_the_etag_of_a_page(api: Api, place: str) -> None:
    anna, path, sent = conversation(api, 3)
    first = anna.get(path, limit=2, **{place: sent[1 if place == "around" else 0]["created_at"]})
    anna.reply("one more", group=sent[0]["message_group_uuid"])
    again = revalidate(anna, first.request.full_path, first.headers["ETag"])
    assert again.json == first.json
    assert links(again).keys() > links(first).keys()


def test_etag_does_not_replace_a_token(api: Api) -> None:
    anna, path, _ = conversation(api, 1)
    for url in (path, INBOX):
        assert refused(anna.client.get(url, headers={"If-None-Match": "*"})) == (401, ["token_missing"])
    assert refused(revalidate(api.sign_up(), path, "*")) == (404, ["message_group_not_found"])
