"""DynamoDB fails, hangs, is short of capacity or loses a response: the API tries again, then responds with a 503."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from threading import Event, Thread
from typing import Any

import pytest
from werkzeug.test import TestResponse

from lib.aws.dynamodb_client import TRIES
from lib.aws.errors import NoResponse
from tests.support.api import Api, Call, Person, Response, aws_error, ok, refused, run_api

UNAVAILABLE = (503, ["storage_unavailable"])
BUSY = (503, ["conversation_busy"])
NO_PORT = "http://127.0.0.1:1"

Play = Callable[[Call], Response | None]

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture(scope="module", autouse=True)
def first_write(api: Api) -> None:
    """A send before all tests: the first transaction of DynamoDB Local may take longer than half a second."""
    anna, bert = api.couple()
    anna.write("hello", to=bert)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without pauses, and write for at most half a second."""
    monkeypatch.setattr("lib.aws.dynamodb_client._FIRST_PAUSE_SECONDS", 0)
    for module in ("table", "store", "conversations"):
        monkeypatch.setattr(f"lib.ddb.{module}.WRITE_SECONDS", 0.5)


@pytest.fixture
def silent_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that accepts connections and sends nothing; a call waits for 0.2 s."""
    monkeypatch.setattr("lib.aws.dynamodb_client.TRY_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def conversation(anna: Person, bert: Person) -> str:
    group: str = anna.write("hello", to=bert)["message_group_uuid"]
    return group


def first(count: int, play: Play) -> Play:
    """Let `play` respond to the first tries, and send the others to the engine."""
    left = iter(range(count))
    return lambda call: None if next(left, None) is None else play(call)


def cancelled(code: str) -> Play:
    """Cancel each transaction because of its second item; other calls reach the engine."""

    def play(call: Call) -> Response | None:
        if call.operation != "TransactWriteItems":
            return None
        codes = ["None", code, *repeat("None", len(call.body["TransactItems"]) - 2)]
        return aws_error(400, "TransactionCanceledException", CancellationReasons=[{"Code": c} for c in codes])(call)

    return play


def transactions(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.operation == "TransactWriteItems"]


def assert_unavailable(response: TestResponse, refusal: tuple[int, list[str]] = UNAVAILABLE) -> None:
    assert refused(response) == refusal
    assert response.headers["Retry-After"] == "1"


FAULTS = {
    "throttled": aws_error(400, "ThrottlingException"),
    "short of provisioned capacity": aws_error(400, "ProvisionedThroughputExceededException"),
    "over the account's limit": aws_error(400, "RequestLimitExceeded"),
    "failing": aws_error(500, "InternalServerError"),
    "away for a moment": aws_error(503, "ServiceUnavailable"),
}


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_short_fault_is_retried_without_an_error(api: Api, fault: Play) -> None:
    anna, bert = api.couple()
    group = conversation(anna, bert)
    for call in (anna.inbox, lambda: anna.messages(group), lambda: anna.reply("again", group=group)):
        with api.wire(first(TRIES - 1, fault)) as calls:
            call()
        assert len(calls) >= TRIES
    assert [row["message"] for row in bert.messages(group)] == ["again", "hello"]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_lasting_fault_is_a_503(api: Api, fault: Play) -> None:
    anna, bert = api.couple()
    group = conversation(anna, bert)
    before = api.items()
    with api.wire(fault) as calls:
        assert_unavailable(anna.get("/api/message_groups"))
        assert_unavailable(anna.get(f"/api/messages/{group}"))
        assert_unavailable(anna.post({"message": "lost", "message_group_uuid": group}))
        assert_unavailable(anna.post({"message": "lost", "handle": bert.user.handle}))
        assert_unavailable(anna.post({"message": "lost", "handle": api.sign_up().user.handle}))
    assert len(calls) == 5 * TRIES
    assert api.items() == before
    assert anna.reply("found", group=group)["seq"] == 2


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    "code",
    ["AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException", "ResourceNotFoundException"],
)
def test_denied_access_to_the_table_is_a_503(api: Api, code: str) -> None:
    anna = api.sign_up()
    with api.wire(aws_error(400, code)):
        assert_unavailable(anna.get("/api/message_groups"))


def test_truncated_response_is_a_503_and_no_empty_list(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    with api.variant() as cold, cold.wire(lambda call: (200, {}, b"")):
        reader = cold.sign_in(anna.user)
        assert_unavailable(reader.get("/api/message_groups"))  # a Query
        assert_unavailable(reader.get(f"/api/messages/{group}"))  # a GetItem
    with api.wire(lambda call: (400, {}, b"")):
        assert_unavailable(anna.post({"message": "lost", "message_group_uuid": group}))


def test_unreachable_dynamodb_is_a_503_in_time(api: Api) -> None:
    with api.variant(aws_endpoint_url_dynamodb=NO_PORT) as cut_off:
        anna, bert = cut_off.couple()
        began = time.monotonic()
        assert_unavailable(anna.get("/api/message_groups"))
        assert_unavailable(anna.post({"message": "hello", "handle": bert.user.handle}))
        assert time.monotonic() - began < 2


@pytest.mark.usefixtures("no_pauses")
def test_hanging_dynamodb_is_a_503_in_time(api: Api, silent_url: str) -> None:
    with api.variant(aws_endpoint_url_dynamodb=silent_url) as waiting:
        anna = waiting.sign_up()
        began = time.monotonic()
        assert_unavailable(anna.get("/api/message_groups"))
        assert TRIES * 0.2 <= time.monotonic() - began < TRIES * 0.2 + 0.5
        assert waiting.lines()[-1]["dynamodb_requests"] == TRIES


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("by_handle", [True, False])
def test_response_lost_after_the_commit_makes_one_message(api: Api, by_handle: bool) -> None:
    anna, bert = api.couple()
    group = None if by_handle else conversation(anna, bert)
    lost: list[Call] = []

    def lose_first_response(call: Call) -> None:
        if call.operation == "TransactWriteItems" and not lost:
            api.boto3.transact_write_items(**call.body)
            lost.append(call)
            raise NoResponse

    with api.wire(lose_first_response) as calls:
        sent = anna.reply("once", group=group) if group else anna.write("once", to=bert)
    tokens = [call.body["ClientRequestToken"] for call in transactions(calls)]
    assert len(tokens) == 2
    assert len(set(tokens)) == 1
    texts = [row["message"] for row in bert.messages(sent["message_group_uuid"])]
    assert texts.count("once") == 1
    assert bert.inbox()[0]["seq"] == len(texts) == sent["seq"]
    assert anna.reply("next", group=sent["message_group_uuid"])["seq"] == sent["seq"] + 1


@pytest.mark.usefixtures("no_pauses")
def test_conflicting_transaction_is_retried(api: Api) -> None:
    anna, bert = api.couple()
    group = conversation(anna, bert)
    with api.wire(first(3, cancelled("TransactionConflict"))) as calls:
        assert anna.reply("through", group=group)["seq"] == 2
    assert len(transactions(calls)) == 4


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("by_handle", [True, False])
@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("TransactionConflict", BUSY),
        ("ThrottlingError", UNAVAILABLE),
        ("ProvisionedThroughputExceeded", UNAVAILABLE),
    ],
)
def test_lasting_cancellation_is_a_503_and_writes_nothing(
    api: Api, code: str, refusal: tuple[int, list[str]], by_handle: bool
) -> None:
    anna, bert = api.couple()
    group = conversation(anna, bert)
    receiver = {"handle": bert.user.handle} if by_handle else {"message_group_uuid": group}
    newcomer = api.sign_up()
    before = api.items()
    began = time.monotonic()
    with api.wire(cancelled(code)) as calls:
        assert_unavailable(anna.post({"message": "hello", **receiver}), refusal)
        assert len(transactions(calls)) > 1
        assert_unavailable(anna.post({"message": "hello", "handle": newcomer.user.handle}), refusal)
    assert time.monotonic() - began < 2
    assert api.items() == before
    assert anna.write("hello", to=newcomer)["seq"] == 1


def test_long_wait_for_the_lock_is_a_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.ddb.conversations.WRITE_SECONDS", 0.1)
    anna, bert = api.couple()
    group = conversation(anna, bert)
    held, release, responses = Event(), Event(), []

    def hold(_: Any) -> None:
        held.set()
        assert release.wait(10)

    with api.wire(first(1, hold)):
        writer = Thread(target=lambda: responses.append(bert.reply("first", group=group)))
        writer.start()
        assert held.wait(10)
        assert_unavailable(anna.post({"message": "second", "message_group_uuid": group}), BUSY)
        release.set()
        writer.join()
    assert [response["seq"] for response in responses] == [2]
    assert ok(anna.post({"message": "second", "message_group_uuid": group}))["seq"] == 3
