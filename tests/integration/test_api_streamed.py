"""The API in stream mode: the writes of a send, the lists before and after the function, and lost responses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.ddb import keys
from lib.ddb.items import Message
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.table import Table
from tests.support.api import JSON, Api, Call, ok, refused, run_api
from tests.support.proxy import Cut, LossyProxy

inline_api = pytest.fixture(scope="module")(run_api)


@pytest.fixture(scope="module")
def api(inline_api: Api) -> Iterator[Api]:
    with inline_api.variant(group_updates="stream") as streamed:
        yield streamed


def count(api: Api, group: str) -> None:
    """Do the function's work for all messages of a conversation."""
    items = [item for item in api.items() if item["pk"]["S"] == keys.message_pk(group)]
    messages = [Message.from_item(item) for item in items]
    SequenceNumbers(Table(api.dynamodb, api.settings.ddb_table)).update(group, messages)


def writes(calls: list[Call]) -> list[str]:
    return [call.operation for call in calls]


def shown(inbox: list[JSON]) -> list[tuple[str, int, int]]:
    return [(row["message"], row["seq"], row["unread_count"]) for row in inbox]


def test_first_message_is_numbered_and_in_both_inboxes_at_once(api: Api) -> None:
    anna, bert = api.couple()
    assert anna.write("hello", to=bert)["seq"] == 1
    assert (shown(anna.inbox()), shown(bert.inbox())) == ([("hello", 1, 0)], [("hello", 1, 1)])


def test_send_is_one_put_and_the_function_updates_the_inboxes(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    with api.wire() as calls:
        sent = bert.reply("two", group=group)
    assert writes(calls) == ["GetItem", "PutItem"]
    assert calls[1].body["Item"]["message"] == {"S": "two"}
    assert sent["seq"] is None

    assert [(message["message"], message["seq"]) for message in anna.messages(group)] == [("two", None), ("one", 1)]
    assert shown(anna.inbox()) == [("one", 1, 0)]
    before = anna.get(f"/api/messages/{group}").headers["ETag"]
    count(api, group)
    assert [(message["message"], message["seq"]) for message in anna.messages(group)] == [("two", 2), ("one", 1)]
    assert (shown(anna.inbox()), shown(bert.inbox())) == ([("two", 2, 1)], [("two", 2, 0)])
    assert anna.get(f"/api/messages/{group}").headers["ETag"] != before


def test_process_keeps_the_order_of_its_messages(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("0", to=bert)["message_group_uuid"]
    times = [bert.reply(str(number), group=group)["created_at"] for number in range(1, 20)]
    assert times == sorted(set(times))
    count(api, group)
    assert [message["seq"] for message in anna.messages(group, order="asc")] == list(range(1, 21))


def test_repeated_send_with_a_key_writes_one_message(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    body, headers = {"message": "two", "message_group_uuid": group}, {**anna.headers, "Idempotency-Key": "k"}
    with api.wire() as calls:
        first, again = (anna.client.post("/api/messages", json=body, headers=headers) for _ in range(2))
    assert writes(calls) == ["GetItem", "TransactWriteItems"] * 2
    assert [len(call.body["TransactItems"]) for call in calls[1::2]] == [2, 2]
    assert ok(first) == ok(again)
    assert "Idempotency-Replayed" in again.headers
    assert [message["message"] for message in anna.messages(group)] == ["two", "one"]
    other = anna.client.post("/api/messages", json={**body, "message": "three"}, headers=headers)
    assert refused(other) == (409, ["idempotency_key_reused"])


def test_send_reads_the_block_of_another_process(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    anna.reply("two", group=group)
    with api.variant() as other:
        other.sign_in(bert.user).block(anna)
    for body in ({"message": "three", "message_group_uuid": group}, {"message": "three", "handle": bert.user.handle}):
        assert refused(anna.post(body)) == (403, ["receiver_unavailable"])
    count(api, group)
    assert shown(bert.inbox()) == [("two", 2, 0)]


def test_stranger_writes_nothing(api: Api) -> None:
    (anna, bert), carl = api.couple(), api.sign_up("carl")
    group = anna.write("one", to=bert)["message_group_uuid"]
    before = api.items()
    assert refused(carl.post({"message": "me too", "message_group_uuid": group})) == (404, ["message_group_not_found"])
    assert api.items() == before


@pytest.mark.parametrize("counted", [False, True])
def test_lost_response_doubles_no_message_before_or_after_the_function(api: Api, counted: bool) -> None:
    anna, bert = api.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    with (
        LossyProxy(str(api.settings.aws_endpoint_url_dynamodb)) as proxy,
        api.variant(aws_endpoint_url_dynamodb=proxy.url) as behind,
    ):
        tries: list[str] = []

        def lose_the_first(operation: str) -> Cut | None:
            tries.append(operation)
            if tries.count("PutItem") == 2 and counted:
                count(api, group)
            return Cut.AFTER if tries.count("PutItem") == 1 and operation == "PutItem" else None

        proxy.choose = lose_the_first
        sent = ok(
            behind.app.test_client().post(
                "/api/messages", json={"message": "once", "message_group_uuid": group}, headers=anna.headers
            )
        )
    assert tries.count("PutItem") == 2
    assert [message["uuid"] for message in anna.messages(group)][:-1] == [sent["uuid"]]


def test_feed_returns_a_message_after_the_function(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    cursor = anna.get("/api/message_groups").headers["Feed-Cursor"]
    bert.reply("two", group=group)
    nothing = anna.get("/api/message_groups", since=cursor)
    assert ok(nothing) == []
    count(api, group)
    assert shown(ok(anna.get("/api/message_groups", since=nothing.headers["Feed-Cursor"]))) == [("two", 2, 1)]
