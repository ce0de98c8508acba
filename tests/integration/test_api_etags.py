"""ETags: the API answers 304 for a page that the client has."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from tests.support.api import Api, Person, ok, refused, run_api
from tests.support.lists import INBOX, conversation, feed_cursor, links, visit

api = pytest.fixture(scope="module")(run_api)


def asked_again(person: Person, path: str, tags: str) -> TestResponse:
    return person.client.get(path, headers={**person.headers, "If-None-Match": tags})


@pytest.mark.parametrize("form", ["{}", "W/{}", '"another", {}', 'W/"another", W/{}', "*"])
def test_an_unchanged_answer_is_not_sent_again(api: Api, form: str) -> None:
    anna, path, sent = conversation(api, 3)
    anna.write("hello", to=api.sign_up())
    at = sent[1]["created_at"].replace("+", "%2B")
    urls = [f"{INBOX}?limit=1", f"{path}?limit=1", f"{path}?limit=1&around={at}", f"{path}?after={at}"]
    for url in [*urls, f"{INBOX}?since={feed_cursor(anna)}"]:
        first = visit(anna, url)
        again = asked_again(anna, url, form.format(first.headers["ETag"]))
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert "Content-Type" not in again.headers
        assert "Feed-Cursor" in again.headers
        assert ("Link" in again.headers) == ("Link" in first.headers)
        for answer in (first, again):
            assert answer.headers["Cache-Control"] == "private, no-cache"


def test_a_changed_answer_is_sent(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("1", to=bert)["message_group_uuid"]
    tags = {url: visit(anna, url).headers["ETag"] for url in (INBOX, f"/api/messages/{group}")}
    bert.answer("2", group=group)
    for url, tag in tags.items():
        answer = asked_again(anna, url, tag)
        assert ok(answer)[0]["message"] == "2"
        assert answer.headers["ETag"] != tag
    tag = visit(anna, INBOX).headers["ETag"]
    anna.client.post(f"{INBOX}/{group}/read", headers=anna.headers, json={"seq": 2})
    assert ok(asked_again(anna, INBOX, tag))[0]["unread_count"] == 0


def test_a_tag_names_the_content_and_its_order(api: Api) -> None:
    anna, path, _ = conversation(api, 2)
    tags = [visit(anna, f"{path}?order={order}").headers["ETag"] for order in ("desc", "asc", "desc")]
    assert tags[0] != tags[1]
    assert tags[0] == tags[2]
    for wrong in (tags[1], '"x"', "", ",", "x"):
        assert asked_again(anna, path, wrong).status_code == 200


@pytest.mark.parametrize("place", ["after", "around"])
def test_a_new_link_changes_the_tag_of_a_page(api: Api, place: str) -> None:
    anna, path, sent = conversation(api, 3)
    first = anna.get(path, limit=2, **{place: sent[1 if place == "around" else 0]["created_at"]})
    anna.answer("one more", group=sent[0]["message_group_uuid"])
    again = asked_again(anna, first.request.full_path, first.headers["ETag"])
    assert again.json == first.json
    assert links(again).keys() > links(first).keys()


def test_a_tag_is_no_way_around_signing_in(api: Api) -> None:
    anna, path, _ = conversation(api, 1)
    for url in (path, INBOX):
        assert refused(anna.client.get(url, headers={"If-None-Match": "*"})) == (401, ["token_missing"])
    assert refused(asked_again(api.sign_up(), path, "*")) == (404, ["message_group_not_found"])
