"""Catching up over HTTP: what moved since, messages beside a position, and answers that the client has already."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.test import TestResponse

from lib.clock import now, to_timestamp
from lib.ddb.items import InboxRow, Message
from tests.integration.api import JSON, Api, Person, ok, refused, run_api

INBOX = "/api/message_groups"

api = pytest.fixture(scope="module")(run_api)


def links(response: TestResponse) -> dict[str, str]:
    """Where the Link header leads, by relation, as paths of the same server."""
    found = re.findall(r'<http://localhost:4567(/api/[^<>]+)>; rel="(\w+)"', response.headers.get("Link", ""))
    return {relation: path for path, relation in found}


def visit(person: Person, path: str) -> TestResponse:
    """Follow a link as it is written."""
    response = person.client.get(path, headers=person.headers)
    assert response.status_code == 200, response.get_data(as_text=True)
    return response


def walk(person: Person, path: str, relation: str = "next") -> Iterator[TestResponse]:
    """The answers from a path on, to where the links end."""
    while True:
        response = visit(person, path)
        yield response
        if relation not in links(response):
            return
        path = links(response)[relation]


def texts(response: TestResponse) -> list[str]:
    return [row["message"] for row in ok(response)]


def moved(person: Person, since: str, **query: object) -> TestResponse:
    response = person.get(INBOX, since=since, **query)
    assert response.status_code == 200, response.get_data(as_text=True)
    return response


def feed_cursor(person: Person, path: str = INBOX, **query: object) -> str:
    return str(person.get(path, **query).headers["Feed-Cursor"])


def conversation(api: Api, count: int) -> tuple[Person, str, list[JSON]]:
    """A member, the path of the messages, and these as they were sent."""
    anna, bert = api.couple()
    sent = [(anna, bert)[number % 2].write(f"{number}", to=(bert, anna)[number % 2]) for number in range(count)]
    return anna, f"/api/messages/{sent[0]['message_group_uuid']}", sent


# --- what moved since ---


def test_a_feed_gives_what_moved_since_the_list_and_then_no_more(api: Api) -> None:
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
    bert.write("back", to=anna)
    assert texts(moved(anna, second.headers["Feed-Cursor"])) == ["back"]
    assert texts(moved(anna, since)) == ["to anna", "back"], "a cursor can be used again"


def test_a_feed_gives_each_message_of_a_long_exchange_or_a_later_one(api: Api) -> None:
    anna, bert = api.couple()
    since, seen = feed_cursor(anna), []
    for number in range(12):
        bert.write(f"{number}", to=anna)
        if number % 3 == 2:
            response = moved(anna, since)
            seen += texts(response)
            since = response.headers["Feed-Cursor"]
    assert seen == ["2", "5", "8", "11"]


def test_the_messages_of_a_conversation_start_a_feed_of_all(api: Api) -> None:
    anna, bert = api.couple()
    group = bert.write("hello", to=anna)["message_group_uuid"]
    since = feed_cursor(anna, f"/api/messages/{group}")
    assert texts(moved(anna, since)) == []
    api.sign_up("carl").write("I am carl", to=anna)
    bert.write("again", to=anna)
    assert texts(moved(anna, since)) == ["I am carl", "again"]


def test_links_lead_through_a_feed_and_its_cursor_goes_on(api: Api) -> None:
    anna = api.sign_up("anna")
    since = feed_cursor(anna)
    for number in range(5):
        api.sign_up("other").write(f"{number}", to=anna)
    answers = list(walk(anna, f"{INBOX}?since={since}&limit=2"))
    assert [texts(answer) for answer in answers] == [["0", "1"], ["2", "3"], ["4"]]
    for answer in answers[:-1]:
        query = parse_qs(urlsplit(links(answer)["next"]).query)
        assert query == {"since": [answer.headers["Feed-Cursor"]], "limit": ["2"]}
    assert texts(moved(anna, answers[0].headers["Feed-Cursor"])) == ["2", "3", "4"]
    assert texts(moved(anna, answers[-1].headers["Feed-Cursor"])) == []


def test_reading_does_not_move_a_conversation(api: Api) -> None:
    anna, bert = api.couple()
    group = bert.write("hello", to=anna)["message_group_uuid"]
    since = feed_cursor(anna)
    path = f"{INBOX}/{group}/read"
    assert anna.client.post(path, headers=anna.headers, json={"seq": 1}).status_code == 200
    assert texts(moved(anna, since)) == []


@pytest.mark.parametrize(("seconds", "found"), [(1, []), (3600, ["committed late"])])
def test_a_feed_looks_back_for_as_long_as_the_deployment_says(api: Api, seconds: int, found: list[str]) -> None:
    anna, bert = api.couple()
    bert.write("hello", to=anna)
    with api.variant(feed_window_seconds=seconds) as variant:
        reader = variant.sign_in(anna.user)
        since = feed_cursor(reader)
        at = to_timestamp(now() - timedelta(seconds=60))
        late = InboxRow(anna.user.uuid, at, str(uuid.uuid4()), "committed late", bert.user, 1, 0, bert.user.uuid)
        api.dynamodb.put_item(TableName=api.settings.ddb_table, Item=late.to_item())
        first = moved(reader, since)
        assert texts(first) == found
        assert texts(moved(reader, first.headers["Feed-Cursor"])) == []


def test_every_first_page_has_a_feed_cursor_and_a_page_by_cursor_has_none(api: Api) -> None:
    anna, path, sent = conversation(api, 3)
    at = sent[1]["created_at"]
    for query in ({}, {"before": at}, {"after": at}, {"around": at}):
        assert texts(moved(anna, feed_cursor(anna, path, limit=1, **query))) in ([], ["2"])
    for other in (api.sign_up(), api.sign_up()):
        anna.write("hello", to=other)
    for each in (path, INBOX):
        first = visit(anna, f"{each}?limit=1")
        assert "Feed-Cursor" in first.headers
        assert "Feed-Cursor" not in visit(anna, links(first)["next"]).headers


def test_a_feed_cursor_that_is_not_ones_own_is_refused(api: Api) -> None:
    anna, bert = api.couple()
    anna.write("hello", to=bert)
    anna.write("hello", to=api.sign_up())
    since = feed_cursor(anna)
    page_cursor = parse_qs(urlsplit(links(anna.get(INBOX, limit=1))["next"]).query)["cursor"][0]
    for wrong in ("", "x", f"A{since[1:]}", since[:-1], since.swapcase(), page_cursor, feed_cursor(bert), "x" * 9000):
        assert refused(anna.get(INBOX, since=wrong)) == (422, ["cursor_invalid"])
    assert refused(anna.get(INBOX, cursor=since)) == (422, ["cursor_invalid"])
    with api.variant(secret_key="another deployment's secret") as foreign:
        assert refused(foreign.sign_in(anna.user).get(INBOX, since=since)) == (422, ["cursor_invalid"])
    assert refused(anna.get(INBOX, since=since, cursor=page_cursor)) == (422, ["position_ambiguous"])
    assert refused(anna.get(INBOX, since=since, limit="0")) == (422, ["limit_invalid"])


# --- messages beside a position ---


def test_the_messages_before_each_message(api: Api) -> None:
    anna, path, sent = conversation(api, 5)
    for number, message in enumerate(sent):
        response = anna.get(path, before=message["created_at"], limit=2)
        assert texts(response) == [str(each) for each in (number - 1, number - 2) if each >= 0]
        assert ("next" in links(response)) == (number > 2)


def test_the_messages_after_each_message(api: Api) -> None:
    anna, path, sent = conversation(api, 5)
    for number, message in enumerate(sent):
        response = anna.get(path, after=message["created_at"], limit=2)
        assert texts(response) == [str(each) for each in (number + 2, number + 1) if each < 5]
        assert ("next" in links(response)) == (number < 2)


@pytest.mark.parametrize(("limit", "newer"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (100, 50)])
def test_the_messages_around_each_message(api: Api, limit: int, newer: int) -> None:
    anna, path, sent = conversation(api, 6)
    for number, message in enumerate(sent):
        response = anna.get(path, around=message["created_at"], limit=limit)
        newest = min(5, number + newer)
        oldest = max(0, newest - limit + 1)
        assert texts(response) == [str(each) for each in range(newest, oldest - 1, -1)]
        assert links(response).keys() == {
            *(["next"] if oldest > 0 else []),
            *(["prev"] if newest < 5 else []),
        }


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_links_lead_from_any_message_to_both_ends(api: Api, limit: int) -> None:
    anna, path, sent = conversation(api, 6)
    around = visit(anna, f"{path}?limit={limit}&around={sent[2]['created_at']}")
    older, newer = [], []
    for answer in walk(anna, links(around)["next"]) if "next" in links(around) else []:
        older += texts(answer)
    for answer in walk(anna, links(around)["prev"]):
        newer = texts(answer) + newer
    assert newer + texts(around) + older == ["5", "4", "3", "2", "1", "0"]


def test_a_position_need_not_be_a_messages(api: Api) -> None:
    anna, path, _ = conversation(api, 3)
    everything = ["2", "1", "0"]
    for at, before, after, around in (
        ("1999-12-31T23:59:59Z", [], everything, ["0"]),
        ("2999-12-31T23:59:59Z", everything, [], everything),
    ):
        assert texts(anna.get(path, before=at)) == before
        assert texts(anna.get(path, after=at)) == after
        assert texts(anna.get(path, around=at, limit=3)) == around
    below = anna.get(path, around="1999-12-31T23:59:59Z", limit=1)
    assert texts(below) == []
    assert [texts(answer) for answer in walk(anna, links(below)["prev"])] == [["0"], ["1"], ["2"]]


def test_an_ascending_page_beside_a_position_holds_the_same_messages(api: Api) -> None:
    anna, path, sent = conversation(api, 5)
    at = sent[2]["created_at"]
    for query in ({"before": at}, {"after": at}, {"around": at}):
        newest_first, oldest_first = (anna.get(path, limit=3, order=order, **query) for order in ("desc", "asc"))
        assert texts(oldest_first) == texts(newest_first)[::-1]
        for relation, link in links(oldest_first).items():
            assert link.replace("order=asc", "order=desc") == links(newest_first)[relation]
    pages = [texts(answer) for answer in walk(anna, f"{path}?limit=1&order=asc&after={at.replace('+', '%2B')}")]
    assert pages == [["3"], ["4"]]


def test_a_position_is_taken_as_clients_write_it(api: Api) -> None:
    anna, path, sent = conversation(api, 3)
    at = sent[1]["created_at"]
    for written in (at, at.replace("+", "%2B"), at.replace("+00:00", "Z"), at.replace("+", " ").replace(" ", "%20")):
        for name, found in (("before", ["0"]), ("after", ["2"]), ("around", ["2", "1", "0"])):
            assert texts(visit(anna, f"{path}?{name}={written}")) == found


@pytest.mark.parametrize(
    "keys",
    [
        ("2023-06-26T10:16:00", "2023-06-26T10:16:01", "2023-06-26T10:16:02"),
        ("2023-06-26 10:16", "2023-06-26 10:17", "2023-06-26 10:18"),
        ("2023-06-26T10:16:00Z", "2023-06-26T10:16:01Z", "2023-06-26T10:16:02Z"),
        ("2023-06-26T10:16:00.375877Z", "2023-06-26T10:16:00.375878Z", "2023-06-26T10:16:00.375879Z"),
        ("2023-06-26T10:16:00.375877", "2023-06-26T10:16:00.375878", "2023-06-26T10:16:00.375879"),
        ("2023-06-26T10:16:00+0200", "2023-06-26T10:16:01+0200", "2023-06-26T10:16:02+0200"),
    ],
)
def test_old_sort_keys_are_positions_as_they_are(api: Api, keys: tuple[str, str, str]) -> None:
    anna, path, sent = conversation(api, 1)
    for key in keys:
        old = Message(sent[0]["message_group_uuid"], key, str(uuid.uuid4()), key, anna.user, seq=1)
        api.dynamodb.put_item(TableName=api.settings.ddb_table, Item=old.to_item())
    low, middle, high = keys
    assert texts(anna.get(path, before=middle)) == [low]
    assert texts(anna.get(path, after=middle)) == ["0", high]
    assert texts(anna.get(path, around=middle)) == ["0", high, middle, low]
    assert [texts(each)[0] for each in walk(anna, f"{path}?limit=1&order=asc")] == ["0", high, middle, low]
    assert [texts(each) for each in walk(anna, f"{path}?limit=1&after={low.replace('+', '%2B')}")] == [
        [middle],
        [high],
        ["0"],
    ]


@pytest.mark.parametrize("name", ["before", "after", "around"])
@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "2026", "2026-01-02", "12:00:00", "2026-13-02T12:00:00Z", "2026-01-02T25:00:00Z", "Z", "None"),
        *("2026-01-02T12:00:00ZZ", "2026-01-02T12:00:00+99:00", "2026-01-02T12:00:00\0Z", "2026-01-02\0T12:00:00"),
        *("٢026-01-02T12:00:00Z", "2026-01-02☃12:00:00Z", f"2026-01-02T12:00:00.{'1' * 3000}Z", "9" * 3000),
        *("2026-01-02T12:00:00Z ", " 2026-01-02T12:00:00Z", "2026-01-02T12:00:00Z\n", "2026-01-02T12:00:00+00:00Z"),
    ],
)
def test_what_is_no_time_is_refused(api: Api, name: str, text: str) -> None:
    path = f"/api/messages/{uuid.UUID(int=1)}"
    assert refused(api.sign_up().get(path, **{name: text})) == (422, ["created_at_invalid"])


def test_one_position_is_taken_at_a_time(api: Api) -> None:
    anna, path, sent = conversation(api, 2)
    at = sent[0]["created_at"]
    cursor = parse_qs(urlsplit(links(anna.get(path, limit=1))["next"]).query)["cursor"][0]
    positions = {"cursor": cursor, "before": at, "after": at, "around": at}
    for first in positions:
        for second in positions.keys() - {first}:
            query = {first: positions[first], second: positions[second]}
            assert refused(anna.get(path, **query)) == (422, ["position_ambiguous"])
    assert refused(anna.get(path, **positions)) == (422, ["position_ambiguous"])
    assert refused(anna.get(path, before="x", after="y")) == (422, ["position_ambiguous"])


def test_a_position_opens_no_conversation_of_others(api: Api) -> None:
    _, path, sent = conversation(api, 2)
    stranger = api.sign_up("stranger")
    for name in ("before", "after", "around"):
        for each in (path, f"/api/messages/{uuid.uuid4()}", "/api/messages/x"):
            answer = stranger.get(each, **{name: sent[1]["created_at"]})
            assert refused(answer) == (404, ["message_group_not_found"])


# --- what it costs ---


def test_each_form_is_one_query_and_around_is_two(api: Api) -> None:
    anna, path, sent = conversation(api, 8)
    at, since = sent[4]["created_at"], feed_cursor(anna)
    for url, query, limits in (
        (INBOX, {}, [4]),
        (INBOX, {"since": since}, [6]),  # the cursor names one row, and one beyond the page is looked at
        (path, {}, [4]),
        (path, {"before": at}, [4]),
        (path, {"after": at}, [4]),
        (path, {"around": at}, [2, 3]),
    ):
        with api.wire() as calls:
            anna.get(url, limit=3, **query)
        assert [call.operation for call in calls] == ["Query"] * len(limits)
        assert [call.body["ConsistentRead"] for call in calls] == [True] * len(limits)
        assert [call.body["Limit"] for call in calls] == limits, (url, query)


# --- what the client has already ---


def asked_again(person: Person, path: str, tags: str) -> TestResponse:
    return person.client.get(path, headers={**person.headers, "If-None-Match": tags})


@pytest.mark.parametrize("form", ["{}", "W/{}", '"another", {}', 'W/"another", W/{}', "*"])
def test_what_the_client_has_is_not_sent_again(api: Api, form: str) -> None:
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


def test_what_changed_is_sent(api: Api) -> None:
    anna, bert = api.couple()
    path = f"/api/messages/{anna.write('1', to=bert)['message_group_uuid']}"
    tags = {url: visit(anna, url).headers["ETag"] for url in (INBOX, path)}
    for url, tag in tags.items():
        assert asked_again(anna, url, tag).status_code == 304
    bert.write("2", to=anna)
    for url, tag in tags.items():
        answer = asked_again(anna, url, tag)
        assert ok(answer)[0]["message"] == "2"
        assert answer.headers["ETag"] != tag


def test_a_tag_names_the_content_and_its_order(api: Api) -> None:
    anna, path, _ = conversation(api, 2)
    tags = [visit(anna, f"{path}?order={order}").headers["ETag"] for order in ("desc", "asc", "desc")]
    assert tags[0] != tags[1]
    assert tags[0] == tags[2]
    for wrong in (tags[1], '"x"', "", ",", "x"):
        assert asked_again(anna, path, wrong).status_code == 200


@pytest.mark.parametrize("place", ["after", "around"])
def test_a_page_that_is_followed_by_another_now_is_another(api: Api, place: str) -> None:
    anna, path, sent = conversation(api, 3)
    first = anna.get(path, limit=2, **{place: sent[1 if place == "around" else 0]["created_at"]})
    anna.answer("one more", group=sent[0]["message_group_uuid"])
    again = asked_again(anna, first.request.full_path, first.headers["ETag"])
    assert again.json == first.json
    assert links(again).keys() > links(first).keys()


def test_reading_changes_the_tag_of_the_inbox(api: Api) -> None:
    anna, bert = api.couple()
    group = bert.write("hello", to=anna)["message_group_uuid"]
    tag = visit(anna, INBOX).headers["ETag"]
    anna.client.post(f"{INBOX}/{group}/read", headers=anna.headers, json={"seq": 1})
    assert ok(asked_again(anna, INBOX, tag))[0]["unread_count"] == 0


def test_a_tag_is_no_way_around_signing_in(api: Api) -> None:
    anna, path, _ = conversation(api, 1)
    for url in (path, INBOX):
        headers = {"If-None-Match": "*"}
        assert refused(anna.client.get(url, headers=headers)) == (401, ["token_missing"])
    assert refused(asked_again(api.sign_up(), path, "*")) == (404, ["message_group_not_found"])
