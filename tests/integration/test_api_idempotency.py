"""Idempotency-Key over HTTP: a repeated request writes its message once and gets the same response."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api import Api, Person, ok, refused, run_api

api = pytest.fixture(scope="module")(run_api)


def post(person: Person, body: Any, key: str) -> TestResponse:
    headers = {**person.headers, "Idempotency-Key": key}
    return person.client.post("/api/messages", json=body, headers=headers)


def replayed(response: TestResponse) -> bool:
    return response.headers.get("Idempotency-Replayed") == "true"


def texts(person: Person, group: str) -> list[str]:
    return [message["message"] for message in person.messages(group)]


@pytest.mark.parametrize("by_group", [True, False])
def test_repeated_request_gets_the_same_response_from_every_process(api: Api, by_group: bool) -> None:
    anna, bert = api.couple()
    group = bert.write("before", to=anna)["message_group_uuid"]
    to = {"message_group_uuid": group} if by_group else {"handle": bert.user.handle}
    key = str(uuid.uuid4())
    first = post(anna, {"message": "once", **to}, key)
    bert.reply("after", group=group)
    with api.variant() as other:
        again = [post(person, {"message": "once", **to}, key) for person in (anna, other.sign_in(anna.user))]

    assert (ok(first)["message"], replayed(first)) == ("once", False)
    assert [(response.json, replayed(response)) for response in again] == [(first.json, True)] * 2
    assert texts(bert, group) == ["after", "once", "before"]


def test_key_with_another_message_is_refused(api: Api) -> None:
    anna, bert = api.couple()
    carl = api.sign_up("carl")
    body = {"message": "one", "handle": bert.user.handle}
    group = ok(post(anna, body, "k"))["message_group_uuid"]
    before = api.items()
    others = [{**body, "message": "other"}, {**body, "handle": carl.user.handle}]
    for other in [*others, {"message": "one", "message_group_uuid": group}]:
        response = post(anna, other, "k")
        assert refused(response) == (409, ["idempotency_key_reused"])
        assert not replayed(response)
    assert api.items() == before


def test_same_message_in_other_bytes_is_a_replay(api: Api) -> None:
    anna, bert = api.couple()
    first = anna.post_bytes(
        f'{{"message": "one\\r\\n", "handle": "{bert.user.handle}"}}'.encode(), headers={"Idempotency-Key": "k"}
    )
    again = anna.post_bytes(
        f'{{ "handle":"{bert.user.handle}",\n"message":"\\u006fne" }}'.encode(), headers={"Idempotency-Key": "k"}
    )
    assert (ok(again), replayed(again)) == (ok(first), True)


def test_requests_without_a_key_are_different_messages(api: Api) -> None:
    anna, bert = api.couple()
    sent = [anna.write("again", to=bert) for _ in range(2)]

    assert [message["seq"] for message in sent] == [1, 2]
    assert not [item for item in api.items() if item["pk"]["S"].startswith(f"IDEM#{anna.user.uuid}")]


def test_quoted_key_equals_a_bare_one(api: Api) -> None:
    anna, bert = api.couple()
    body = {"message": "one", "handle": bert.user.handle}
    assert [replayed(post(anna, body, key)) for key in ("# %00 &", '"# %00 &"')] == [False, True]


@pytest.mark.parametrize("key", ["", '"a', "é"])
def test_malformed_key_is_refused_and_writes_nothing(api: Api, key: str) -> None:
    anna, bert = api.couple()
    before = api.items()
    response = post(anna, {"message": "one", "handle": bert.user.handle}, key)
    assert refused(response) == (422, ["idempotency_key_invalid"])
    assert api.items() == before


def test_refused_request_leaves_the_key_free(api: Api) -> None:
    anna, bert = api.couple()
    for body in ({"message": " ", "handle": bert.user.handle}, {"message": "one", "handle": "nobody"}):
        assert post(anna, body, "k").status_code in (404, 422)
    assert not replayed(post(anna, {"message": "one", "handle": bert.user.handle}, "k"))


def test_simultaneous_requests_send_one_message(api: Api) -> None:
    anna, bert = api.couple()
    barrier = Barrier(8)

    def send(person: Person) -> TestResponse:
        barrier.wait()
        return post(person, {"message": "once", "handle": bert.user.handle}, "k")

    with api.variant() as other, ThreadPoolExecutor(8) as threads:
        anna_at_other = other.sign_in(anna.user)
        # Each thread needs a test client of its own.
        people = [
            replace(person, client=person.client.application.test_client()) for person in [anna, anna_at_other] * 4
        ]
        responses = list(threads.map(send, people))

    assert sorted(replayed(response) for response in responses) == [False] + [True] * 7
    assert {str(ok(response)) for response in responses} == {str(responses[0].json)}
    assert texts(bert, responses[0].json["message_group_uuid"]) == ["once"]


def test_replay_works_after_a_rename_of_the_receiver(api: Api) -> None:
    anna, bert = api.couple()
    body = {"message": "once", "handle": bert.user.handle}
    first = post(anna, body, "k")
    api.execute("UPDATE users SET handle = %s WHERE uuid = %s", f"was-{bert.user.handle}", bert.user.uuid)
    with api.variant() as other:  # has empty caches
        sender = other.sign_in(anna.user)
        again = post(sender, body, "k")
        assert (ok(again), replayed(again)) == (ok(first), True)
        assert refused(post(sender, {**body, "message": "x"}, "k")) == (409, ["idempotency_key_reused"])
        assert refused(post(sender, body, "another key")) == (404, ["receiver_not_found"])
