"""The requests to DynamoDB and the statements to Postgres that each call sends."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from tests.support.api import Api, Person, ok, run_api

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that requests send to Postgres. Hints go out later, in a thread of their own."""
    statements: list[str] = []
    execute, request_thread = psycopg.Cursor.execute, threading.current_thread()

    def recorded(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is request_thread:
            statements.append(query if isinstance(query, str) else query.as_string(None))
        return execute(cursor, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.Cursor, "execute", recorded)
    return statements


def write_messages(anna: Person, bert: Person, count: int) -> str:
    return [anna.write(f"{number}", to=bert)["message_group_uuid"] for number in range(count)][0]


def test_warm_list_is_one_query_and_no_statement(api: Api, statements: list[str]) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 3)
    for person in (anna, bert):
        person.messages(group)
        person.inbox()
    statements.clear()
    for read in (anna.inbox, bert.inbox, lambda: anna.messages(group), lambda: bert.messages(group, limit=1)):
        with api.wire() as calls:
            read()
        assert [call.operation for call in calls] == ["Query"]
    assert statements == []


def test_new_process_reads_users_and_state_once_and_consistently(api: Api, statements: list[str]) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 1)
    with api.variant() as cold:
        reader = cold.sign_in(anna.user)
        statements.clear()
        with cold.wire() as calls:
            reader.messages(group)
            reader.messages(group)
            reader.inbox()
            reader.inbox()
    assert [call.operation for call in calls] == ["GetItem", "Query", "Query", "Query", "Query"]
    assert all(call.body["ConsistentRead"] for call in calls)
    assert len([statement for statement in statements if "FROM users" in statement]) == 2  # anna as caller, then bert


def test_list_asks_for_all_unknown_users_at_once(api: Api, statements: list[str]) -> None:
    anna, friends = api.sign_up("anna"), [api.sign_up("friend") for _ in range(5)]
    for friend in friends:
        friend.write("hello", to=anna)
    with api.variant() as cold:
        reader = cold.sign_in(anna.user)
        reader.get("/api/unread")
        statements.clear()
        assert len(reader.inbox()) == 5
    assert len([statement for statement in statements if "FROM users" in statement]) == 1


def test_warm_send_is_one_transaction(api: Api) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 1)
    for send in (
        lambda: anna.reply("by group", group=group),
        lambda: bert.reply("by the other", group=group),
        lambda: anna.write("by handle", to=bert),
        lambda: bert.write("by handle of the other", to=anna),
    ):
        with api.wire() as calls:
            send()
        assert [call.operation for call in calls] == ["TransactWriteItems"]
    assert len(calls[0].body["TransactItems"]) == 6


def test_first_message_is_three_reads_and_one_transaction(api: Api) -> None:
    anna, bert = api.couple()
    with api.wire() as calls:
        anna.write("hello", to=bert)
    assert [call.operation for call in calls] == ["GetItem", "Query", "Query", "TransactWriteItems"]
    assert len(calls[-1].body["TransactItems"]) == 5


def test_send_after_another_process_costs_one_more_transaction(api: Api) -> None:
    anna, bert = api.couple()
    with api.variant() as other:
        group = write_messages(anna, bert, 1)
        other.sign_in(bert.user).reply("from elsewhere", group=group)
        with api.wire() as calls:
            assert anna.reply("from here", group=group)["seq"] == 3
    assert [call.operation for call in calls] == ["TransactWriteItems", "TransactWriteItems"]


def test_read_state_and_replay_cost_the_documented_requests(api: Api) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 3)
    path = f"/api/message_groups/{group}"
    body = {"message": "once", "message_group_uuid": group}
    keyed = {**bert.headers, "Idempotency-Key": "k"}
    expected = [
        (lambda: bert.get(path), ["GetItem"]),
        (
            lambda: bert.client.post(f"{path}/read", headers=bert.headers, json={"seq": 3}),
            ["GetItem", "TransactWriteItems"],
        ),
        (lambda: bert.client.post(f"{path}/read", headers=bert.headers, json={"seq": 3}), ["GetItem"]),
        (lambda: bert.client.delete(f"{path}/read", headers=bert.headers), ["GetItem", "TransactWriteItems"]),
        (lambda: bert.get("/api/unread"), ["Query"]),
        (lambda: bert.client.post("/api/messages", headers=keyed, json=body), ["TransactWriteItems"]),
        (lambda: bert.client.post("/api/messages", headers=keyed, json=body), ["TransactWriteItems"]),
    ]
    for call, operations in expected:
        with api.wire() as calls:
            ok(call())
        assert [call.operation for call in calls] == operations


def test_refused_request_costs_nothing(api: Api) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 1)
    with api.wire() as calls:
        anna.post({"message": "", "message_group_uuid": group})
        anna.post({"message": "hello", "handle": "nobody"})
        anna.get(f"/api/messages/{group}", cursor="x")
        anna.get(f"/api/messages/{group}", limit="0")
        anna.client.get("/api/message_groups")
        api.sign_up().get(f"/api/messages/{group}")
    assert calls == []
