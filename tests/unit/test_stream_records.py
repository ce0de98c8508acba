"""What of a stream is delivered, and in which form."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.ddb import keys
from tools.stream_worker.records import is_new_message, to_event


def record(event: str = "INSERT", pk: str = "MSG#g") -> dict[str, Any]:
    return {"eventName": event, "dynamodb": {"Keys": {"pk": {"S": pk}, "sk": {"S": "x"}}, "SequenceNumber": "1"}}


@pytest.mark.parametrize(
    ("event", "pk", "delivered"),
    [
        ("INSERT", keys.message_pk("any"), True),
        ("MODIFY", "MSG#g", False),
        ("REMOVE", "MSG#g", False),
        ("INSERT", keys.inbox_pk("u"), False),
        ("INSERT", keys.conversation_pk("g"), False),
        ("INSERT", keys.receipt_pk("u", "MSG#"), False),
        ("INSERT", "msg#g", False),
    ],
)
def test_new_messages_are_delivered_and_no_other_changes(event: str, pk: str, delivered: bool) -> None:
    assert is_new_message(record(event, pk)) is delivered


def test_a_record_becomes_what_lambda_would_deliver() -> None:
    image = {"bytes": {"B": b"\x00\xff"}, "text": {"S": "é"}}
    at = datetime(2023, 6, 26, 10, 16, tzinfo=UTC)
    given = record()
    given["dynamodb"] |= {"ApproximateCreationDateTime": at, "NewImage": image}
    event = to_event(given, "arn:of:the:stream")
    assert event == record() | {
        "eventSourceARN": "arn:of:the:stream",
        "dynamodb": record()["dynamodb"]
        | {"ApproximateCreationDateTime": 1687774560.0, "NewImage": {"bytes": {"B": "AP8="}, "text": {"S": "é"}}},
    }
    assert json.loads(json.dumps(event)) == event


def test_what_no_record_can_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        to_event({"eventName": object()}, "arn")
