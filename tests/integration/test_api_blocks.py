"""Blocks over HTTP: who may write, what each of the two sees, and the list of the blocked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api import JSON, Api, Person, ok, refused, run_api

api = pytest.fixture(scope="module")(run_api)

BLOCKED, UNAVAILABLE = (403, ["receiver_blocked"]), (403, ["receiver_unavailable"])


def bodies(person: Person, group: str | None) -> list[JSON]:
    """Messages to a person, by handle and into a conversation."""
    by_handle = {"message": "hello", "handle": person.user.handle}
    return [by_handle, *([{"message": "hello", "message_group_uuid": group}] if group else [])]


def refusals(sender: Person, receiver: Person, group: str | None = None) -> list[tuple[int, list[str]]]:
    return [refused(sender.post(body)) for body in bodies(receiver, group)]


@pytest.mark.parametrize("has_conversation", [True, False])
def test_neither_can_write_until_the_unblock(api: Api, has_conversation: bool) -> None:
    anna, bert = api.couple()
    group = anna.write("before", to=bert)["message_group_uuid"] if has_conversation else None
    bert.block(anna)
    count = len(bodies(bert, group))
    with api.variant() as other:
        annas = other.sign_in(anna.user)
        assert refusals(annas, bert, group) == [UNAVAILABLE] * count
    assert refusals(bert, anna, group) == [BLOCKED] * count
    bert.unblock(anna)
    assert anna.write("after", to=bert)["seq"] == (2 if has_conversation else 1)
    assert bert.write("after", to=anna)["seq"] == (3 if has_conversation else 2)


def test_block_shows_to_the_caller_alone(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    path = f"/api/message_groups/{group}"
    before = [anna.inbox(), ok(anna.get(path)), anna.messages(group), ok(anna.get("/api/blocks"))]
    state = ok(bert.get(path))
    bert.block(anna)

    assert [anna.inbox(), ok(anna.get(path)), anna.messages(group), ok(anna.get("/api/blocks"))] == before
    [row] = bert.inbox()
    assert (row["blocked"], row["unread_count"]) == (True, 0)
    assert ok(bert.get("/api/unread")) == {"unread_count": 0}
    assert ok(bert.get(path)) == state | {"blocked": True}
    assert [message["message"] for message in bert.messages(group)] == ["hello"]
    read = bert.client.post(f"{path}/read", headers=bert.headers, json={"seq": 0})
    assert ok(read)["unread_count"] == 0

    bert.unblock(anna)
    [row] = bert.inbox()
    assert ("blocked" in row, row["unread_count"]) == (False, 1)
    assert ok(bert.get("/api/unread")) == {"unread_count": 1}
    assert ok(bert.get(path)) == state


def test_both_may_block(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    anna.block(bert)
    bert.block(anna)
    assert refusals(anna, bert, group) == refusals(bert, anna, group) == [BLOCKED] * 2
    bert.unblock(anna)
    assert (refusals(anna, bert, group), refusals(bert, anna, group)) == ([BLOCKED] * 2, [UNAVAILABLE] * 2)


def test_message_from_before_the_block_can_be_repeated_under_its_key(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    for number, body in enumerate(bodies(bert, group)):
        options: dict[str, Any] = {"json": body, "headers": {**anna.headers, "Idempotency-Key": f"k{number}"}}
        first = ok(anna.client.post("/api/messages", **options))
        bert.block(anna)
        again = anna.client.post("/api/messages", **options)
        assert (ok(again), again.headers["Idempotency-Replayed"]) == (first, "true")
        other = {**options, "json": {**body, "message": "another"}}
        assert refused(anna.client.post("/api/messages", **other)) == (409, ["idempotency_key_reused"])
        options["headers"]["Idempotency-Key"] = f"new {number}"
        for _ in range(2):
            assert refused(anna.client.post("/api/messages", **options)) == UNAVAILABLE
        bert.unblock(anna)
        assert ok(anna.client.post("/api/messages", **options))["seq"] > first["seq"]


def test_list_has_names_of_today_and_pages(api: Api) -> None:
    anna, others = api.sign_up("anna"), [api.sign_up("other") for _ in range(5)]
    for other in others:
        anna.block(other)
    api.execute("DELETE FROM users WHERE uuid = %s", others[0].user.uuid)
    api.execute("UPDATE users SET display_name = 'New' WHERE uuid = %s", others[1].user.uuid)
    with api.variant() as later:
        reader = later.sign_in(anna.user)
        rows, response = [], reader.get("/api/blocks", limit=2)
        while True:
            rows += ok(response)
            if "Link" not in response.headers:
                break
            url = response.headers["Link"].partition(">")[0].removeprefix("<")
            response = reader.client.get(url.removeprefix(api.settings.backend_url), headers=anna.headers)
        assert {row["user_uuid"]: row["display_name"] for row in rows} == {
            other.user.uuid: "New" if other is others[1] else "Other" for other in others
        }
        assert [row["user_uuid"] for row in rows if row.get("deleted")] == [others[0].user.uuid]
        etag = reader.get("/api/blocks").headers["ETag"]
        assert reader.client.get("/api/blocks", headers={**anna.headers, "If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(
    ("query", "code"),
    [({"limit": "0"}, "limit_invalid"), ({"cursor": "x"}, "cursor_invalid"), ({"cursor": ""}, "cursor_invalid")],
)
def test_bad_page_is_refused(api: Api, query: dict[str, str], code: str) -> None:
    assert refused(api.sign_up().get("/api/blocks", **query)) == (422, [code])


def test_cursor_belongs_to_one_list(api: Api) -> None:
    anna, bert = api.couple()
    for person in (anna, bert):
        for _ in range(2):
            person.block(api.sign_up())
    cursor = anna.get("/api/blocks", limit=1).headers["Link"].partition("cursor=")[2].partition(">")[0]
    assert len(ok(anna.get("/api/blocks", cursor=cursor))) == 1
    assert refused(bert.get("/api/blocks", cursor=cursor)) == (422, ["cursor_invalid"])
    assert refused(anna.get("/api/message_groups", cursor=cursor)) == (422, ["cursor_invalid"])


def test_unknown_user_and_the_caller_cannot_be_blocked(api: Api) -> None:
    anna = api.sign_up("anna")
    before = api.items()

    def calls(handle: str) -> list[TestResponse]:
        path = f"/api/blocks/@{handle}"
        return [method(path, headers=anna.headers) for method in (anna.client.put, anna.client.delete)]

    for handle in ("nobody", "%00", "a/b", "x" * 300):
        assert [refused(response) for response in calls(handle)] == [(404, ["user_not_found"])] * 2
    for handle in (anna.user.handle, anna.user.handle.upper()):
        assert [refused(response) for response in calls(handle)] == [(422, ["user_is_caller"])] * 2
    assert refused(anna.client.put("/api/blocks/@x")) == (401, ["token_missing"])
    assert api.items() == before


def test_other_spelling_of_a_handle_is_the_same_block(api: Api) -> None:
    anna, bert = api.couple()
    path = f"/api/blocks/@{bert.user.handle.upper()}"
    for _ in range(2):
        assert anna.client.put(path, headers=anna.headers).status_code == 204
    assert [row["handle"] for row in ok(anna.get("/api/blocks"))] == [bert.user.handle]
    for _ in range(2):
        assert anna.client.delete(path, headers=anna.headers).status_code == 204
    assert ok(anna.get("/api/blocks")) == []


def test_block_and_first_message_at_once_end_in_one_of_two_states(api: Api) -> None:
    """The message is stored before the block, or it is refused; in both cases, the block holds."""
    with api.variant() as other, ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            anna, bert = api.couple()
            sender, start = other.sign_in(anna.user), Barrier(2)

            def send(sender: Person = sender, bert: Person = bert, start: Barrier = start) -> TestResponse:
                start.wait()
                return sender.post({"message": "hello", "handle": bert.user.handle})

            def block(anna: Person = anna, bert: Person = bert, start: Barrier = start) -> None:
                start.wait()
                bert.block(anna)

            sending, blocking = threads.submit(send), threads.submit(block)
            blocking.result()
            response = sending.result()
            rows = bert.inbox()
            assert (response.status_code, len(rows)) in ((200, 1), (403, 0))
            assert all(row["blocked"] for row in rows)
            assert refusals(sender, bert) == [UNAVAILABLE]
            assert [row["user_uuid"] for row in ok(bert.get("/api/blocks"))] == [anna.user.uuid]


def test_preflight_allows_put(api: Api) -> None:
    headers = {"Origin": api.settings.frontend_url, "Access-Control-Request-Method": "PUT"}
    response = api.app.test_client().options("/api/blocks/@bayko", headers=headers)
    assert "PUT" in response.headers["Access-Control-Allow-Methods"]


def test_send_costs_no_more_and_a_block_costs_the_documented_requests(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    with api.wire() as calls:
        bert.block(anna)
    assert [call.operation for call in calls] == ["GetItem", "GetItem", "TransactWriteItems"]
    with api.wire() as calls:
        bert.block(anna)
    assert [call.operation for call in calls] == ["GetItem", "GetItem"]
    with api.wire() as calls:
        assert refusals(anna, bert, group) == [UNAVAILABLE] * 2
    assert {call.operation for call in calls} == {"GetItem"}
    bert.unblock(anna)
    anna.reply("hello", group=group)
    with api.wire() as calls:
        anna.reply("hello", group=group)
    assert [call.operation for call in calls] == ["TransactWriteItems"]
    assert len(calls[0].body["TransactItems"]) == 6
    with api.wire() as calls:
        ok(bert.get("/api/blocks"))
    assert [call.operation for call in calls] == ["Query"]
