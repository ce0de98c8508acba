"""What of a stream is delivered, by Lambda's filter patterns, and in which form."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.ddb import keys
from lib.streams.records import matches, to_event


def record(event: str = "INSERT", pk: str = "MSG#g") -> dict[str, Any]:
    return {"eventName": event, "dynamodb": {"Keys": {"pk": {"S": pk}, "sk": {"S": "x"}}, "SequenceNumber": "1"}}


def test_the_pattern_is_the_one_of_the_functions_mapping() -> None:
    assert keys.NEW_MESSAGES == {"eventName": ["INSERT"], "dynamodb": {"Keys": {"pk": {"S": [{"prefix": "MSG#"}]}}}}
    assert matches(keys.NEW_MESSAGES, record(pk=keys.message_pk("any")))


@pytest.mark.parametrize(
    ("event", "pk"),
    [
        ("MODIFY", "MSG#g"),
        ("REMOVE", "MSG#g"),
        ("INSERT", keys.inbox_pk("u")),
        ("INSERT", keys.conversation_pk("g")),
        ("INSERT", keys.pair_pk("a", "b")),
        ("INSERT", keys.receipt_pk("u", "MSG#")),
        ("INSERT", "msg#g"),
        ("INSERT", ""),
    ],
)
def test_other_changes_are_not_delivered(event: str, pk: str) -> None:
    assert not matches(keys.NEW_MESSAGES, record(event, pk))


def test_a_record_without_what_the_pattern_names_is_not_delivered() -> None:
    assert not matches(keys.NEW_MESSAGES, {"eventName": "INSERT", "dynamodb": {"Keys": {"pk": {"N": "1"}}}})
    assert not matches(keys.NEW_MESSAGES, {"eventName": "INSERT", "dynamodb": {"Keys": {"pk": "MSG#g"}}})
    assert not matches(keys.NEW_MESSAGES, {"eventName": "INSERT"})


def test_one_of_several_values_is_enough() -> None:
    assert matches({"eventName": ["INSERT", "MODIFY"]}, record("MODIFY"))


def test_a_rule_that_is_not_implemented_is_no_match_by_accident() -> None:
    with pytest.raises(ValueError, match="anything-but"):
        matches({"eventName": [{"anything-but": ["REMOVE"]}]}, record())


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
