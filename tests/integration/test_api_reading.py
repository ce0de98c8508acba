"""Patterns A and B over HTTP: what the lists look like, how they are paged, and who may read what."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from werkzeug.test import TestResponse

from lib.clock import to_timestamp
from lib.ddb.items import Message
from tests.support.api import JSON, Api, Person, ok, refused, run_api

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")

api = pytest.fixture(scope="module")(run_api)


def next_url(response: TestResponse) -> str | None:
    """Where the Link header leads, as a path of the same server."""
    if "Link" not in response.headers:
        return None
    match = re.fullmatch(r'<http://localhost:4567(/api/[^<>]+)>; rel="next"', response.headers["Link"])
    assert match, response.headers["Link"]
    return match[1]


def follow(person: Person, path: str) -> list[list[JSON]]:
    """The pages from a path to the last."""
    pages, url = [], path
    while url:
        response = person.get(urlsplit(url).path, **parse_qs(urlsplit(url).query))
        pages.append(ok(response))
        url = next_url(response)
    return pages


def talk(anna: Person, bert: Person, count: int) -> str:
    """A conversation of `count` numbered messages; its uuid."""
    group = anna.write("1", to=bert)["message_group_uuid"]
    for number in range(2, count + 1):
        (anna, bert)[number % 2].answer(str(number), group=group)
    return group


def texts(rows: list[JSON]) -> list[str]:
    return [row["message"] for row in rows]


def test_messages_have_exactly_the_fields_of_the_contract(api: Api) -> None:
    anna, bert = api.couple()
    sent = anna.write("hello", to=bert)
    assert bert.messages(sent["message_group_uuid"]) == [
        {
            "uuid": sent["uuid"],
            "user_uuid": anna.user.uuid,
            "display_name": "Anna",
            "handle": anna.user.handle,
            "message": "hello",
            "created_at": sent["created_at"],
            "seq": 1,
        }
    ]
    assert TIMESTAMP.fullmatch(sent["created_at"])


def test_conversations_have_exactly_the_fields_of_the_contract(api: Api) -> None:
    anna, bert = api.couple()
    first = anna.write("hello", to=bert)
    last = anna.write("are you there?", to=bert)
    row = {
        "uuid": first["message_group_uuid"],
        "message": "are you there?",
        "created_at": last["created_at"],
        "seq": 2,
    }
    anna_sees = {"user_uuid": bert.user.uuid, "display_name": "Bert", "handle": bert.user.handle, "unread_count": 0}
    bert_sees = {"user_uuid": anna.user.uuid, "display_name": "Anna", "handle": anna.user.handle, "unread_count": 2}
    assert anna.inbox() == [{**row, **anna_sees}]
    assert bert.inbox() == [{**row, **bert_sees}]


def test_who_has_no_conversation_has_an_empty_list(api: Api) -> None:
    response = api.sign_up().get("/api/message_groups")
    assert ok(response) == []
    assert "Link" not in response.headers


def test_messages_come_newest_first(api: Api) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 3)
    assert [(row["message"], row["seq"]) for row in bert.messages(group)] == [("3", 3), ("2", 2), ("1", 1)]


def test_the_conversation_written_to_last_comes_first(api: Api) -> None:
    anna, bert = api.couple()
    carl = api.sign_up("carl")
    anna.write("to bert", to=bert)
    carl.write("to anna", to=anna)
    assert texts(anna.inbox()) == ["to anna", "to bert"]
    bert.write("back", to=anna)
    assert texts(anna.inbox()) == ["back", "to anna"]


def test_a_page_has_twenty_unless_the_request_says(api: Api) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 22)
    assert texts(anna.messages(group)) == [str(number) for number in range(22, 2, -1)]
    assert [len(anna.messages(group, limit=limit)) for limit in (1, 21, 100)] == [1, 21, 22]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "+1", "1.0", "1e1", "", " 5", "abc", "٣", "9" * 5000, "5\0"])
@pytest.mark.parametrize("path", ["/api/message_groups", f"/api/messages/{uuid.UUID(int=1)}"])
def test_a_bad_limit_is_refused(api: Api, path: str, limit: str) -> None:
    assert refused(api.sign_up().get(path, limit=limit)) == (422, ["limit_invalid"])


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 6), (2, [2, 2, 2]), (4, [4, 2]), (6, [6]), (7, [6])])
def test_links_lead_through_the_whole_conversation_once(api: Api, limit: int, sizes: list[int]) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 6)
    pages = follow(anna, f"/api/messages/{group}?limit={limit}")
    assert [len(page) for page in pages] == sizes
    assert [row["seq"] for page in pages for row in page] == [6, 5, 4, 3, 2, 1]


def test_links_lead_through_the_whole_inbox_once(api: Api) -> None:
    anna = api.sign_up("anna")
    others = [api.sign_up(f"other{number}") for number in range(4)]
    for other in others:
        other.write("hello", to=anna)
    pages = follow(anna, "/api/message_groups?limit=2")
    assert [[row["handle"] for row in page] for page in pages] == [
        [others[3].user.handle, others[2].user.handle],
        [others[1].user.handle, others[0].user.handle],
    ]


def test_pages_stay_whole_while_others_write(api: Api) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 7)
    seen, url = [], f"/api/messages/{group}?limit=2"
    while url:
        response = anna.get(urlsplit(url).path, **parse_qs(urlsplit(url).query))
        seen += texts(ok(response))
        url = next_url(response)
        bert.answer("meanwhile", group=group)
    assert seen == ["7", "6", "5", "4", "3", "2", "1"]


def test_a_link_keeps_what_the_request_asked_for(api: Api) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 3)
    url = next_url(anna.get(f"/api/messages/{group}", limit=1, order="asc", other="ä&b"))
    assert url
    query = parse_qs(urlsplit(url).query)
    assert query.pop("cursor")
    assert query == {"limit": ["1"], "order": ["asc"], "other": ["ä&b"]}


def test_ascending_order_turns_each_page_round(api: Api) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 5)
    pages = follow(anna, f"/api/messages/{group}?limit=3&order=asc")
    assert [texts(page) for page in pages] == [["3", "4", "5"], ["1", "2"]]
    assert texts(anna.messages(group, order="desc")) == ["5", "4", "3", "2", "1"]


@pytest.mark.parametrize("order", ["", "ASC", "up", "asc\0"])
def test_an_unknown_order_is_refused(api: Api, order: str) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 1)
    assert refused(anna.get(f"/api/messages/{group}", order=order)) == (422, ["order_invalid"])


def test_a_deployment_may_make_ascending_the_default(api: Api) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 3)
    with api.variant(messages_order="asc") as ascending:
        anna = ascending.sign_in(anna.user)
        assert texts(anna.messages(group)) == ["1", "2", "3"]
        assert texts(anna.messages(group, order="desc")) == ["3", "2", "1"]


def test_history_of_other_years_is_there(api: Api) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 1)
    new_year = datetime(2023, 1, 1, tzinfo=UTC)
    for days in (-400, -1, 0):
        at = to_timestamp(new_year + timedelta(days=days))
        old = Message(group, at, str(uuid.uuid4()), f"{days}", anna.user, seq=1)
        api.dynamodb.put_item(TableName=api.settings.ddb_table, Item=old.to_item())
    pages = follow(anna, f"/api/messages/{group}?limit=3")
    assert [text for page in pages for text in texts(page)] == ["1", "0", "-1", "-400"]


def test_every_read_is_strongly_consistent(api: Api) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 2)
    with api.variant() as cold, cold.wire() as calls:
        reader = cold.sign_in(anna.user)
        reader.messages(group)
        reader.inbox()
    assert [call.operation for call in calls] == ["GetItem", "Query", "Query"]
    assert all(call.body["ConsistentRead"] for call in calls)


def test_what_was_acknowledged_is_in_the_next_answer(api: Api) -> None:
    anna, bert = api.couple()
    for number in range(10):
        sent = anna.write(f"{number}", to=bert)
        assert bert.messages(sent["message_group_uuid"], limit=1)[0]["uuid"] == sent["uuid"]
        assert bert.inbox(limit=1)[0]["created_at"] == sent["created_at"]


def test_a_group_of_others_looks_like_one_that_is_not_there(api: Api) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 1)
    stranger = api.sign_up("stranger")
    answers = [stranger.get(f"/api/messages/{each}") for each in (group, uuid.uuid4())]
    assert [refused(answer) for answer in answers] == [(404, ["message_group_not_found"])] * 2
    assert anna.get(f"/api/messages/{group}").status_code == 200


@pytest.mark.parametrize("group", ["x", "5ae290ed", "5ae290ed55d147a0bc6dfe2bc2700399", "%00", "%ff", "x" * 9000, "☃"])
def test_what_is_no_uuid_is_no_group(api: Api, group: str) -> None:
    assert refused(api.sign_up().get(f"/api/messages/{group}")) == (404, ["message_group_not_found"])


def test_the_case_of_a_uuid_makes_no_difference(api: Api) -> None:
    anna, bert = api.couple()
    group = talk(anna, bert, 1)
    assert texts(anna.messages(group.upper())) == ["1"]
    assert anna.answer("2", group=group.upper())["message_group_uuid"] == group
