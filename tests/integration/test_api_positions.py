"""Messages beside a position: before, after and around a time."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from itertools import combinations
from urllib.parse import parse_qs, urlsplit

import pytest

from lib.ddb.items import Message
from tests.support.api import Api, refused, run_api
from tests.support.lists import INBOX, conversation, feed_cursor, links, texts, visit, walk

api = pytest.fixture(scope="module")(run_api)


def test_before_and_after_return_the_neighbours_of_a_message(api: Api) -> None:
    anna, path, sent = conversation(api, 5)
    for number, message in enumerate(sent):
        for place, neighbours, more in (
            ("before", (number - 1, number - 2), number > 2),
            ("after", (number + 2, number + 1), number < 2),
        ):
            response = anna.get(path, limit=2, **{place: message["created_at"]})
            assert texts(response) == [str(neighbour) for neighbour in neighbours if 0 <= neighbour < 5]
            assert ("next" in links(response)) == more


@pytest.mark.parametrize(("limit", "newer"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (100, 50)])
def test_around_returns_both_sides_of_a_message(api: Api, limit: int, newer: int) -> None:
    anna, path, sent = conversation(api, 6)
    for number, message in enumerate(sent):
        response = anna.get(path, around=message["created_at"], limit=limit)
        newest = min(5, number + newer)
        oldest = max(0, newest - limit + 1)
        assert texts(response) == [str(neighbour) for neighbour in range(newest, oldest - 1, -1)]
        assert links(response).keys() == {
            *(["next"] if oldest > 0 else []),
            *(["prev"] if newest < 5 else []),
        }


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_links_lead_from_any_message_to_both_ends(api: Api, limit: int) -> None:
    anna, path, sent = conversation(api, 6)
    around = visit(anna, f"{path}?limit={limit}&around={sent[2]['created_at']}")
    older, newer = [], []
    for page in walk(anna, links(around)["next"]) if "next" in links(around) else []:
        older += texts(page)
    for page in walk(anna, links(around)["prev"]):
        newer = texts(page) + newer
    assert newer + texts(around) + older == ["5", "4", "3", "2", "1", "0"]


def test_position_may_be_any_time(api: Api) -> None:
    anna, path, _ = conversation(api, 3)
    everything = ["2", "1", "0"]
    for time, before, after, around in (
        ("1999-12-31T23:59:59Z", [], everything, ["0"]),
        ("2999-12-31T23:59:59Z", everything, [], everything),
    ):
        assert texts(anna.get(path, before=time)) == before
        assert texts(anna.get(path, after=time)) == after
        assert texts(anna.get(path, around=time, limit=3)) == around
    below = anna.get(path, around="1999-12-31T23:59:59Z", limit=1)
    assert texts(below) == []
    assert [texts(page) for page in walk(anna, links(below)["prev"])] == [["0"], ["1"], ["2"]]


def test_ascending_page_has_the_same_messages(api: Api) -> None:
    anna, path, sent = conversation(api, 5)
    middle = sent[2]["created_at"]
    for query in ({"before": middle}, {"after": middle}, {"around": middle}):
        newest_first, oldest_first = (anna.get(path, limit=3, order=order, **query) for order in ("desc", "asc"))
        assert texts(oldest_first) == texts(newest_first)[::-1]
        for relation, link in links(oldest_first).items():
            assert link.replace("order=asc", "order=desc") == links(newest_first)[relation]
    pages = [texts(page) for page in walk(anna, f"{path}?limit=1&order=asc&after={middle.replace('+', '%2B')}")]
    assert pages == [["3"], ["4"]]


def test_position_may_have_any_form_of_iso_8601(api: Api) -> None:
    anna, path, sent = conversation(api, 3)
    middle = sent[1]["created_at"]
    local, utc = middle.removesuffix("+00:00"), datetime.fromisoformat(middle)
    times = [middle, f"{local}%2B00:00", f"{local}Z", f"{local}z", f"{local}%2000:00", f"{local}-0000", local]
    times += [time.replace("T", separator) for time in times for separator in ("%20", "t")]
    times += [f"{utc:%G-W%V-%uT%H:%M:%S,%fZ}", f"{utc:%Y%m%dT%H%M%S.%fZ}", f"{local}999Z"]
    for hours in (-12, 5.5, 14):
        times.append(utc.astimezone(timezone(timedelta(hours=hours))).isoformat().replace("+", "%2B"))
    for time in times:
        for name, page in (("before", ["0"]), ("after", ["2"]), ("around", ["2", "1", "0"])):
            assert texts(visit(anna, f"{path}?{name}={time}")) == page, time


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
def test_old_sort_keys_are_positions(api: Api, keys: tuple[str, str, str]) -> None:
    anna, path, sent = conversation(api, 1)
    for key in keys:
        old = Message(sent[0]["message_group_uuid"], key, str(uuid.uuid4()), key, anna.user, seq=1)
        api.dynamodb.put_item(TableName=api.settings.ddb_table, Item=old.to_item())
    low, middle, high = keys
    assert texts(anna.get(path, before=middle)) == [low]
    assert texts(anna.get(path, after=middle)) == ["0", high]
    assert texts(anna.get(path, around=middle)) == ["0", high, middle, low]
    assert [texts(page)[0] for page in walk(anna, f"{path}?limit=1&order=asc")] == ["0", high, middle, low]
    assert [texts(page) for page in walk(anna, f"{path}?limit=1&after={low.replace('+', '%2B')}")] == [
        [middle],
        [high],
        ["0"],
    ]


@pytest.mark.parametrize("name", ["before", "after", "around"])
def test_position_is_a_time(api: Api, name: str) -> None:
    path = f"/api/messages/{uuid.UUID(int=1)}"
    assert refused(api.sign_up().get(path, **{name: "x"})) == (422, ["created_at_invalid"])


def test_two_positions_are_ambiguous(api: Api) -> None:
    anna, path, sent = conversation(api, 2)
    time = sent[0]["created_at"]
    cursor = parse_qs(urlsplit(links(anna.get(path, limit=1))["next"]).query)["cursor"][0]
    positions = {"cursor": cursor, "before": time, "after": time, "around": time}
    for first, second in combinations(positions, 2):
        query = {first: positions[first], second: positions[second]}
        assert refused(anna.get(path, **query)) == (422, ["position_ambiguous"])
        assert refused(anna.get(path, **{first: [positions[first]] * 2})) == (422, ["position_ambiguous"])
    assert refused(anna.get(path, before="x", after="y")) == (422, ["position_ambiguous"])
    assert refused(anna.get(INBOX, since=["x", "y"])) == (422, ["position_ambiguous"])


def test_position_opens_no_conversation_of_others(api: Api) -> None:
    _, path, sent = conversation(api, 1)
    for place in ("before", "after", "around"):
        response = api.sign_up().get(path, **{place: sent[0]["created_at"]})
        assert refused(response) == (404, ["message_group_not_found"])


def test_list_is_one_query_and_around_is_two(api: Api) -> None:
    anna, path, sent = conversation(api, 8)
    middle, since = sent[4]["created_at"], feed_cursor(anna)
    for url, query, limits in (
        (INBOX, {}, [5]),  # the late updates, the page, and one row beyond it
        (INBOX, {"since": since}, [6]),  # the row of the cursor, the page, and one row beyond it
        (path, {}, [4]),
        (path, {"before": middle}, [4]),
        (path, {"after": middle}, [4]),
        (path, {"around": middle}, [2, 3]),
    ):
        with api.wire() as calls:
            anna.get(url, limit=3, **query)
        assert [call.operation for call in calls] == ["Query"] * len(limits)
        assert [call.body["ConsistentRead"] for call in calls] == [True] * len(limits)
        assert [call.body["Limit"] for call in calls] == limits, (url, query)
