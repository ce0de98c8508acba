"""Limits of requests: who is refused, what the refusal says, and what it leaves alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api import Api, Person, ok, refused, run_api

REFUSED = (429, ["rate_limited"])

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture(scope="module")
def strict(api: Api) -> Iterator[Api]:
    with api.variant(rate_limit_sends="5 per minute; 3 per 2 seconds", rate_limit_changes="2 per hour") as strict:
        yield strict


def send(sender: Person, receiver: Person, **headers: str) -> TestResponse:
    body = b'{"message": "hi", "handle": "%s"}' % receiver.user.handle.encode()
    return sender.post_bytes(body, headers=headers)


def state(response: TestResponse) -> list[int]:
    return [int(response.headers[f"RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset")]


def test_sends_are_limited_in_every_window(strict: Api) -> None:
    anna, bert = strict.couple()
    responses = [send(anna, bert) for _ in range(4)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429]
    assert [state(response) for response in responses] == [[3, 2, 2], [3, 1, 2], [3, 0, 2], [3, 0, 2]]
    seconds = responses[-1].headers["Retry-After"]
    assert seconds == responses[-1].headers["RateLimit-Reset"]
    time.sleep(int(seconds))
    responses = [send(anna, bert) for _ in range(3)]  # now the limit of a minute is the first to end
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert [state(response)[:2] for response in responses] == [[5, 1], [5, 0], [5, 0]]
    assert 50 < int(responses[-1].headers["Retry-After"]) <= 60


def test_refused_send_writes_and_costs_nothing(strict: Api) -> None:
    anna, bert = strict.couple()
    sent = [ok(send(anna, bert)) for _ in range(3)]
    items = strict.items()
    with strict.wire() as calls:
        assert refused(send(anna, bert)) == REFUSED
    assert (calls, strict.items()) == ([], items)
    (line,) = [line for line in strict.lines() if line.get("codes") == ["rate_limited"] and is_of(anna, line)]
    assert (line["event"], line["status"], line["dynamodb_requests"], line["postgres_requests"]) == (
        *("request", 429),
        *(0, 0),
    )
    assert len(anna.messages(sent[0]["message_group_uuid"])) == 3  # reading goes on


def is_of(person: Person, line: dict[str, Any]) -> bool:
    return bool(line.get("user_uuid") == person.user.uuid)


def test_one_users_limit_is_not_anothers(strict: Api) -> None:
    anna, bert = strict.couple()
    assert [send(anna, bert).status_code for _ in range(4)][-1] == 429
    assert send(bert, anna).status_code == 200


def test_repeated_and_invalid_sends_count(strict: Api) -> None:
    anna, bert = strict.couple()
    assert ok(send(anna, bert, **{"Idempotency-Key": "the-same"}))
    assert send(anna, bert, **{"Idempotency-Key": "the-same"}).headers["Idempotency-Replayed"] == "true"
    invalid = anna.post({"message": ""})
    assert (invalid.status_code, state(invalid)[:2]) == (422, [3, 0])
    assert refused(send(anna, bert, **{"Idempotency-Key": "the-same"})) == REFUSED


def test_changes_are_limited_and_read_positions_and_typing_are_not(strict: Api) -> None:
    anna, bert = strict.couple()
    group = ok(send(anna, bert))["message_group_uuid"]
    for status in (200, 200, 429):
        response = anna.client.patch("/api/users/me", headers=anna.headers, json={"display_name": "Anna"})
        assert (response.status_code, "RateLimit-Limit" in response.headers) == (status, True)
    for path, body in ((f"/api/message_groups/{group}/read", {"seq": 1}), (f"/api/message_groups/{group}/typing", {})):
        for _ in range(4):
            response = anna.client.post(path, headers=anna.headers, json=body)
            assert (response.status_code < 300, "RateLimit-Limit" in response.headers) == (True, False)


def test_profiles_are_limited_by_address_with_and_without_a_token(api: Api) -> None:
    anna = api.sign_up("anna")
    paths = [f"/api/users/@{anna.user.handle}/short", f"/api/users/{anna.user.uuid}"]
    with api.variant(rate_limit_profiles="3 per hour", rate_limit_anonymous="off") as strict:
        client = strict.app.test_client()
        responses = [client.get(path, headers=headers) for path in paths for headers in ({}, anna.headers)]
        assert [response.status_code for response in responses] == [200, 200, 200, 429]
        assert [state(response)[1] for response in responses] == [2, 1, 0, 0]
        assert client.get(paths[0], environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 200
        assert strict.sign_in(anna.user).get("/api/users/me").status_code == 200


def test_requests_without_a_valid_token_are_limited_by_address(api: Api) -> None:
    anna = api.sign_up("anna")
    wrong = {"Authorization": "Bearer wrong"}
    with api.variant(rate_limit_anonymous="4 per hour", web_client="on") as strict:
        client = strict.app.test_client()
        for path, headers, status in (
            ("/api/message_groups", {}, 401),
            ("/api/message_groups", wrong, 401),
            ("/api/nothing", wrong, 404),
            ("/api/client-config", wrong, 200),
        ):
            assert client.get(path, headers=headers).status_code == status
        for path, headers in (("/api/message_groups", {}), ("/api/message_groups", wrong), ("/", {}), ("/nothing", {})):
            response = client.get(path, headers=headers)
            assert refused(response) == REFUSED
            assert (state(response)[:2], int(response.headers["Retry-After"]) > 3_000) == ([4, 0], True)
        assert client.get("/api/health-check").status_code == 200
        preflight = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET"}
        assert client.options("/api/message_groups", headers=preflight).status_code == 200
        assert client.get("/api/message_groups", headers=anna.headers).status_code == 200
        assert client.get("/api/client-config", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 200


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        (0, "192.0.2.1", "127.0.0.1"),
        (1, "192.0.2.1, 198.51.100.7", "198.51.100.7"),  # what the client claims comes first
        (2, "192.0.2.1, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
        (1, "2001:db8:1:2:3::4", "2001:db8:1:2:9::9"),
    ],
)
def test_address_is_the_one_that_trusted_proxies_name(api: Api, proxies: int, forwarded: str, client: str) -> None:
    with api.variant(trusted_proxies=proxies, rate_limit_anonymous="1 per hour") as strict:
        other = "203.0.113.9" if proxies else forwarded
        headers = [{"X-Forwarded-For": value} for value in (forwarded, client, other)]
        if proxies == 2:
            headers[1:] = [{"X-Forwarded-For": f"{client}, 10.0.0.1"}, {"X-Forwarded-For": f"{other}, 10.0.0.1"}]
        statuses = [strict.app.test_client().get("/api/docs", headers=forwarding).status_code for forwarding in headers]
        assert statuses == [200, 429, 200 if proxies else 429]


def test_limit_that_is_off_counts_nothing(api: Api) -> None:
    with api.variant(rate_limit_sends="off", rate_limit_anonymous="off") as free:
        anna, bert = free.couple()
        response = send(anna, bert)
        assert (response.status_code, "RateLimit-Limit" in response.headers) == (200, False)
        assert free.app.test_client().get("/api/docs").status_code == 200
    with api.variant(rate_limit_profiles="off", rate_limit_anonymous="9 per hour") as free:
        response = free.app.test_client().get(f"/api/users/{anna.user.uuid}")
        assert (response.status_code, "RateLimit-Limit" in response.headers) == (200, False)


def test_applications_count_in_their_own_memory(strict: Api, api: Api) -> None:
    anna, bert = strict.couple()
    assert [send(anna, bert).status_code for _ in range(4)][-1] == 429
    with api.variant(rate_limit_sends="3 per hour") as other:
        assert send(other.sign_in(anna.user), bert).status_code == 200
