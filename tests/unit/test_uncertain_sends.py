"""A send whose response was lost and whose later tries are refused: the message may exist."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lib.aws.dynamodb_client import DynamoDBClient
from lib.aws.errors import NoResponse
from lib.circuit_breaker import CircuitBreaker
from lib.config import DynamoDBSettings
from lib.ddb.cursors import CursorSigner
from lib.ddb.errors import StoreError, StoreUnavailable, Throttled, WriteConflict
from lib.ddb.idempotency import DuplicateRequest, Idempotency
from lib.ddb.items import Conversation, Item, Member, conversation_key
from lib.ddb.store import MessageStore, StreamedMessageStore
from lib.ddb.table import Table, put
from lib.ddb.transactions import KeyTaken
from lib.deadline import deadline
from tests.support.stores import ANNA, BERT

NOON = "2026-01-02T12:00:00.000000+00:00"
STATE = Conversation("a group", {user.uuid: Member(user, 0) for user in (ANNA, BERT)}, NOON, 1, 1, NOON)


class BusyClient:
    """A DynamoDB client that refuses writes: for the reasons in `reasons`, last one first, then for conflicts."""

    def __init__(self, *, lost_responses: int, reasons: Iterable[str] = ("ConditionalCheckFailed",)) -> None:
        self._lost_responses = lost_responses
        self._reasons = list(reasons)
        self.tokens: list[str] = []

    def get_item(self, Key: Item, **_: Any) -> Any:  # noqa: N803 - DynamoDB's names
        return {"Item": STATE.to_item()} if Key == conversation_key(STATE.group_uuid) else {}

    def query(self, **_: Any) -> Any:
        return {"Items": []}

    def put_item(self, **_: Any) -> None:
        code = self._reasons.pop() + "Exception" if self._reasons else "TransactionConflictException"
        raise ClientError({"Error": {"Code": code}, **self._tries()}, "PutItem")

    def transact_write_items(self, TransactItems: list[Any], ClientRequestToken: str, **_: Any) -> None:  # noqa: N803
        self.tokens.append(ClientRequestToken)
        reason = self._reasons.pop() if self._reasons else "TransactionConflict"
        reasons = [{"Code": "None"}, {"Code": reason}, *({"Code": "None"} for _ in TransactItems[2:])]
        error = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons, **self._tries()}
        raise ClientError(error, "TransactWriteItems")

    def _tries(self) -> dict[str, Any]:
        lost, self._lost_responses = self._lost_responses, 0
        return {"ResponseMetadata": {"RetryAttempts": lost, "HTTPStatusCode": 400}}


@pytest.mark.parametrize(("lost_responses", "error"), [(0, WriteConflict), (1, StoreUnavailable)])
@pytest.mark.parametrize("store_class", [MessageStore, StreamedMessageStore])
@pytest.mark.parametrize("first_message", [False, True])
def test_send_is_busy_only_if_no_response_was_lost(
    store_class: type[MessageStore], first_message: bool, lost_responses: int, error: type[StoreError]
) -> None:
    client = BusyClient(lost_responses=lost_responses)
    store = store_class(Table(client, "messages"), CursorSigner("a secret of the tests"))
    send = (
        partial(store.send_to_user, receiver=BERT)
        if first_message
        else partial(store.send, group_uuid=STATE.group_uuid)
    )
    with deadline(0.3), pytest.raises(StoreError) as raised:
        send(sender=ANNA, text="hello")
    assert type(raised.value) is error


class UnavailableClient(BusyClient):
    """Its writes get no response."""

    def transact_write_items(self, **_: Any) -> None:
        raise NoResponse("lost")


class ReplayingClient(BusyClient):
    """It has the receipt of each request."""

    def transact_write_items(self, TransactItems: list[Any], **_: Any) -> None:  # noqa: N803
        reason = {"Code": "ConditionalCheckFailed", "Item": TransactItems[0]["Put"]["Item"]}
        error = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": [reason], **self._tries()}
        raise ClientError(error, "TransactWriteItems")


@pytest.mark.parametrize(
    ("client", "error", "is_update"),
    [
        (UnavailableClient(lost_responses=0), StoreUnavailable, True),
        (ReplayingClient(lost_responses=0), DuplicateRequest, True),
        (BusyClient(lost_responses=0, reasons=["ThrottlingError"] * 100), Throttled, False),
        (BusyClient(lost_responses=0, reasons=()), WriteConflict, False),
    ],
)
def test_send_that_may_have_written_counts_as_an_update(
    client: BusyClient, error: type[StoreError], is_update: bool
) -> None:
    updates: list[Conversation] = []
    store = MessageStore(Table(client, "messages"), CursorSigner("a secret of the tests"), on_update=updates.append)
    with deadline(0.3), pytest.raises(error):
        store.send(group_uuid=STATE.group_uuid, sender=ANNA, text="hello", idempotency=Idempotency("a key", "a hash"))
    assert [state.members.keys() for state in updates] == [STATE.members.keys()] * is_update


def test_write_with_an_unknown_outcome_is_retried_under_its_token() -> None:
    client = BusyClient(lost_responses=1, reasons=())
    writes = [put(STATE.to_item(), KeyTaken), put({**STATE.to_item(), "sk": {"S": "OTHER"}}, KeyTaken)]
    with deadline(0.3), pytest.raises(StoreUnavailable):
        Table(client, "messages").transact(writes, retry_conflicts=False)
    assert len(client.tokens) > 2
    assert len(set(client.tokens)) == 1


def test_outcome_stays_unknown_if_the_breaker_refuses_the_retry_of_a_lost_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = DynamoDBSettings(aws_default_region="us-east-1", aws_endpoint_url_dynamodb="http://127.0.0.1:9")
    client = DynamoDBClient(settings)
    client._breaker = CircuitBreaker("dynamodb", lambda error: isinstance(error, NoResponse), failures=1, seconds=0)
    sends: list[bytes] = []

    def lose(headers: dict[str, str], body: bytes, *, seconds: float) -> None:
        sends.append(body)
        raise NoResponse("lost")

    monkeypatch.setattr(client.connections, "post", lose)
    for _ in range(2):  # the second write is not sent at all, which the same error covers
        with pytest.raises(StoreUnavailable):
            Table(client, "messages").transact([put(STATE.to_item(), KeyTaken)])
    assert len(sends) == 1
