"""The conversation with one user, `?with=`, and who may begin one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.api import Api, Person, ok, refused, run_api
from tests.support.old_data import TIMES, old_conversation
from tests.support.stores import TableContents

api = pytest.fixture(scope="module")(run_api)


def with_(person: Person, handle: str, **query: Any) -> Any:
    return ok(person.get("/api/message_groups", **{"with": handle}, **query))


def test_conversation_with_a_user_is_the_row_of_the_inbox(api: Api) -> None:
    anna, bert = api.couple()
    carl = api.sign_up("carl")
    assert with_(anna, bert.user.handle) == []
    bert.write("hello", to=anna)
    bert.write("and hello", to=anna)
    carl.write("hi", to=anna)
    [row] = with_(anna, bert.user.handle)
    assert row in anna.inbox()
    assert (row["user_uuid"], row["message"], row["unread_count"]) == (bert.user.uuid, "and hello", 2)
    assert with_(anna, bert.user.handle.upper(), limit=1) == [row]
    for nobody in ("nobody-at-all", "", "a\0b", "x" * 300, anna.user.handle):
        assert with_(anna, nobody) == []


def test_response_has_an_etag_and_no_cursor(api: Api) -> None:
    anna, bert = api.couple()
    bert.write("hello", to=anna)
    response = anna.get("/api/message_groups", **{"with": bert.user.handle})
    assert response.headers["ETag"]
    assert {"Link", "Feed-Cursor"} & set(response.headers.keys()) == set()
    for position in ("cursor", "since"):
        response = anna.get("/api/message_groups", **{"with": bert.user.handle, position: "x"})
        assert refused(response) == (422, ["position_ambiguous"])
    response = anna.get("/api/message_groups", **{"with": bert.user.handle, "limit": "0"})
    assert refused(response) == (422, ["limit_invalid"])


def test_row_with_another_time_is_found(api: Api) -> None:
    anna, bert = api.couple()
    bert.write("hello", to=anna)
    contents = TableContents(api.boto3, api.settings.ddb_table)
    [item] = contents.rows(anna.user.uuid)
    contents.put({**item, "sk": {"S": "2020-01-01T00:00:00.000000+00:00"}})
    contents.remove({"pk": item["pk"], "sk": item["sk"]})
    assert [row["message"] for row in with_(anna, bert.user.handle)] == ["hello"]


def test_row_that_moves_during_the_read_is_found(api: Api) -> None:
    anna, bert = api.couple()
    group = bert.write("hello", to=anna)["message_group_uuid"]
    has_moved = False

    def move(call: Any) -> None:
        nonlocal has_moved
        key = call.body.get("Key", {}).get("pk", {}).get("S", "")
        if call.operation == "GetItem" and key.startswith("GRP#") and not has_moved:
            has_moved = True
            bert.reply("and again", group=group)

    with api.wire(move):
        rows = with_(anna, bert.user.handle)
    assert has_moved
    assert [row["message"] for row in rows] == ["and again"]


def test_conversation_of_an_older_backend_is_found(api: Api) -> None:
    anna, bert = api.couple()
    group = "7ae290ed-55d1-47a0-bc6d-fe2bc2700399"
    items = old_conversation(*TIMES, group=group)
    owners = {item["pk"]["S"] for item in items if item["pk"]["S"].startswith("GRP#")}
    uuids = dict(zip(sorted(owner[4:] for owner in owners), (anna.user.uuid, bert.user.uuid), strict=True))
    contents = TableContents(api.boto3, api.settings.ddb_table)
    contents.put(*[_with_users(item, uuids) for item in items])
    assert [row["uuid"] for row in with_(anna, bert.user.handle)] == [group]


def _with_users(item: Any, uuids: dict[str, str]) -> Any:
    """The item with other users: their uuids are in keys and attributes."""
    text = repr(item)
    for old, new in uuids.items():
        text = text.replace(old, new)
    return eval(text, {})  # noqa: S307 - the text is the item's own


def choose(api: Api, person: Person, value: str) -> None:
    response = person.client.patch("/api/users/me", headers=person.headers, json={"accepts_messages_from": value})
    assert ok(response)["accepts_messages_from"] == value


@pytest.mark.parametrize("group_updates", ["inline", "stream"])
@pytest.mark.parametrize(
    ("choice", "first", "later"), [("everybody", 200, 200), ("known", 403, 200), ("nobody", 403, 403)]
)
def test_receiver_chooses_who_may_write(api: Api, group_updates: str, choice: str, first: int, later: int) -> None:
    with api.variant(group_updates=group_updates) as process:
        anna, bert, carl = (process.sign_up(name) for name in ("anna", "bert", "carl"))
        group = anna.write("hello", to=bert)["message_group_uuid"]
        choose(process, bert, choice)
        items = process.items()
        attempts = [
            (carl.post({"message": "hi", "handle": bert.user.handle}), first),
            (anna.post({"message": "hi", "handle": bert.user.handle}), later),
            (anna.post({"message": "hi", "message_group_uuid": group}), later),
        ]
        for response, status in attempts:
            assert response.status_code == status
            assert status == 200 or response.json == ["receiver_unavailable"]
        assert (process.items() == items) == (first == later == 403)
        bert.reply("from me, always", group=group)
        bert.write("to somebody new", to=carl)


def test_own_block_is_named_also_if_the_receiver_accepts_no_message(api: Api) -> None:
    anna, bert = api.couple()
    carl = api.sign_up("carl")
    group = anna.write("hello", to=bert)["message_group_uuid"]
    for receiver, body in [
        (bert, {"message": "hi", "message_group_uuid": group}),
        (bert, {"message": "hi", "handle": bert.user.handle}),
        (carl, {"message": "hi", "handle": carl.user.handle}),
    ]:
        for choice in ("known", "nobody") if receiver is carl else ("nobody",):
            choose(api, receiver, choice)
            anna.block(receiver)
            assert refused(anna.post(body)) == (403, ["receiver_blocked"])
            anna.unblock(receiver)
            assert refused(anna.post(body)) == (403, ["receiver_unavailable"])


def test_repetition_of_a_message_from_before_the_choice_returns_it(api: Api) -> None:
    anna, bert = api.couple()
    headers, body = {**anna.headers, "Idempotency-Key": "k"}, {"message": "hello", "handle": bert.user.handle}
    first = ok(anna.client.post("/api/messages", headers=headers, json=body))
    choose(api, bert, "nobody")
    again = anna.client.post("/api/messages", headers=headers, json=body)
    assert (ok(again), again.headers["Idempotency-Replayed"]) == (first, "true")


def test_first_contacts_of_a_day_are_limited_over_processes(api: Api) -> None:
    anna, strangers = api.sign_up("anna"), [api.sign_up("stranger") for _ in range(8)]
    friend = api.sign_up("friend")
    group = friend.write("hello", to=anna)["message_group_uuid"]
    with api.variant(first_contacts_per_day=5) as one, api.variant(first_contacts_per_day=5) as two:

        def begin(number: int) -> Any:
            sender = (one, two)[number % 2].sign_in(anna.user)
            return sender.post({"message": "hello", "handle": strangers[number].user.handle})

        with ThreadPoolExecutor(8) as pool:
            responses = list(pool.map(begin, range(8)))
        assert sorted(response.status_code for response in responses) == [200] * 5 + [429] * 3
        refusal = next(response for response in responses if response.status_code == 429)
        assert refusal.json == ["rate_limited"]
        assert 1 <= int(refusal.headers["Retry-After"]) <= 24 * 60 * 60
        assert refusal.headers["RateLimit-Reset"] == refusal.headers["Retry-After"]
        assert (refusal.headers["RateLimit-Limit"], refusal.headers["RateLimit-Remaining"]) == ("5", "0")
        assert len(anna.inbox()) == 6
        sender = one.sign_in(anna.user)
        sender.reply("no first contact", group=group)
        sender.write("nor this", to=friend)
        api.execute("UPDATE first_contacts SET day = day - 1 WHERE user_uuid = %s", anna.user.uuid)
        left = next(s for s, response in zip(strangers, responses, strict=True) if response.status_code == 429)
        sender.write("on the next day", to=left)


@pytest.mark.parametrize("choice", ["block", "nobody", "known"])
def test_refusal_of_the_receiver_counts_no_first_contact(api: Api, choice: str) -> None:
    """Otherwise the count would tell a block from a user who accepts no messages."""
    anna, bert = api.couple()
    carl = api.sign_up("carl")
    if choice == "block":
        bert.block(anna)
    else:
        choose(api, bert, choice)
    with api.variant(first_contacts_per_day=1) as process:
        sender = process.sign_in(anna.user)
        for _ in range(2):
            response = sender.post({"message": "hi", "handle": bert.user.handle})
            assert refused(response) == (403, ["receiver_unavailable"])
        sender.write("hello", to=carl)


def test_refused_first_contact_writes_no_item(api: Api) -> None:
    anna, bert = api.couple()
    carl = api.sign_up("carl")
    with api.variant(first_contacts_per_day=1) as process:
        sender = process.sign_in(anna.user)
        sender.write("hello", to=bert)
        items = api.items()
        assert refused(sender.post({"message": "hi", "handle": carl.user.handle})) == (429, ["rate_limited"])
        assert api.items() == items
