"""Patterns A and B over HTTP: fields, pages, order, and access."""

from __future__ import annotations

import re
import uuid
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.api import Api, Person, ok, refused, run_api
from tests.support.lists import INBOX, conversation, links, texts, walk

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")

api = pytest.fixture(scope="module")(run_api)


def pages(person: Person, path: str) -> list[list[str]]:
    """The texts of each page from a path to the last."""
    return [texts(response) for response in walk(person, path)]


def test_messages_have_the_fields_of_the_response_to_their_send(api: Api) -> None:
    anna, bert = api.couple()
    sent = anna.write("hello", to=bert)
    group = {"message_group_uuid": sent["message_group_uuid"]}
    assert [group | message for message in bert.messages(sent["message_group_uuid"])] == [sent]
    assert TIMESTAMP.fullmatch(sent["created_at"])


def test_conversations_have_exactly_the_fields_of_the_contract(api: Api) -> None:
    anna, bert = api.couple()
    first = anna.write("hello", to=bert)
    last = anna.write("are you there?", to=bert)
    row = {
        "uuid": first["message_group_uuid"],
        "message": "are you there?",
        "message_uuid": last["uuid"],
        "sender_uuid": anna.user.uuid,
        "created_at": last["created_at"],
        "seq": 2,
    }
    anna_sees = {"user_uuid": bert.user.uuid, "display_name": "Bert", "handle": bert.user.handle, "unread_count": 0}
    bert_sees = {"user_uuid": anna.user.uuid, "display_name": "Anna", "handle": anna.user.handle, "unread_count": 2}
    assert anna.inbox() == [{**row, **anna_sees}]
    assert bert.inbox() == [{**row, **bert_sees}]


def test_new_user_has_an_empty_inbox(api: Api) -> None:
    response = api.sign_up().get(INBOX)
    assert ok(response) == []
    assert "Link" not in response.headers


def test_page_has_twenty_items_by_default(api: Api) -> None:
    anna, path, _ = conversation(api, 22)
    assert texts(anna.get(path)) == [str(number) for number in range(21, 1, -1)]
    assert [len(ok(anna.get(path, limit=limit))) for limit in (1, 21, 100)] == [1, 21, 22]


@pytest.mark.parametrize("path", [INBOX, f"/api/messages/{uuid.UUID(int=1)}"])
def test_bad_limit_is_refused(api: Api, path: str) -> None:
    assert refused(api.sign_up().get(path, limit="0")) == (422, ["limit_invalid"])


@pytest.mark.parametrize(("limit", "sizes"), [(4, [4, 2]), (6, [6])])
def test_links_lead_through_the_whole_conversation(api: Api, limit: int, sizes: list[int]) -> None:
    anna, path, _ = conversation(api, 6)
    all_pages = pages(anna, f"{path}?limit={limit}")
    assert [len(page) for page in all_pages] == sizes
    assert [text for page in all_pages for text in page] == ["5", "4", "3", "2", "1", "0"]


def test_links_lead_through_the_whole_inbox(api: Api) -> None:
    anna = api.sign_up("anna")
    for number in range(4):
        api.sign_up("other").write(f"{number}", to=anna)
    assert pages(anna, f"{INBOX}?limit=2") == [["3", "2"], ["1", "0"]]


def test_pages_stay_complete_while_others_write(api: Api) -> None:
    anna, path, sent = conversation(api, 5)
    messages = []
    for response in walk(anna, f"{path}?limit=2"):
        messages += texts(response)
        anna.reply("meanwhile", group=sent[0]["message_group_uuid"])
    assert messages == ["4", "3", "2", "1", "0"]


def test_links_keep_the_arguments_of_the_list_alone(api: Api) -> None:
    anna, path, _ = conversation(api, 3)
    anna.write("1", to=api.sign_up())
    junk = "y" * 9000
    for url, order, kept in (
        (path, "asc", {"limit": ["1"], "order": ["asc"]}),
        ("/api/message_groups", junk, {"limit": ["1"]}),
    ):
        query = parse_qs(urlsplit(links(anna.get(url, limit=1, order=order, other=junk))["next"]).query)
        assert query.pop("cursor")
        assert query == kept


def test_ascending_order_reverses_each_page(api: Api) -> None:
    anna, path, _ = conversation(api, 5)
    assert pages(anna, f"{path}?limit=3&order=asc") == [["2", "3", "4"], ["0", "1"]]


@pytest.mark.parametrize("order", ["", "ASC", "up", "asc\0"])
def test_unknown_order_is_refused(api: Api, order: str) -> None:
    anna, path, _ = conversation(api, 1)
    assert refused(anna.get(path, order=order)) == (422, ["order_invalid"])


def test_default_order_is_a_setting(api: Api) -> None:
    anna, path, _ = conversation(api, 3)
    with api.variant(messages_order="asc") as ascending:
        reader = ascending.sign_in(anna.user)
        assert texts(reader.get(path)) == ["0", "1", "2"]
        assert texts(reader.get(path, order="desc")) == ["2", "1", "0"]


def test_conversation_of_other_users_is_not_found(api: Api) -> None:
    anna, path, _ = conversation(api, 1)
    stranger = api.sign_up("stranger")
    for unknown in (path, f"/api/messages/{uuid.uuid4()}"):
        assert refused(stranger.get(unknown)) == (404, ["message_group_not_found"])
    assert ok(anna.get(path))


@pytest.mark.parametrize("group", ["x", "5ae290ed55d147a0bc6dfe2bc2700399", "%00", "%ff", "x" * 9000])
def test_path_without_a_uuid_is_not_found(api: Api, group: str) -> None:
    assert refused(api.sign_up().get(f"/api/messages/{group}")) == (404, ["message_group_not_found"])


def test_uuid_may_have_either_case(api: Api) -> None:
    anna, _, [sent] = conversation(api, 1)
    group = sent["message_group_uuid"]
    assert anna.messages(group.upper()) == anna.messages(group)
    assert anna.reply("2", group=group.upper())["message_group_uuid"] == group
