"""A stream's records as Lambda's event source mapping deals with them: matched with a pattern, and as its events.

Knows no table and no handler.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

Record = dict[str, Any]
"""A change of an item: eventID, eventName, dynamodb.Keys, dynamodb.NewImage, dynamodb.SequenceNumber, …"""


def sequence_number(record: Record) -> str:
    """What names the record in its shard, and its place there."""
    number: str = record["dynamodb"]["SequenceNumber"]
    return number


def matches(pattern: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a mapping with this filter pattern delivers the record.

    Of the pattern language it takes exact values and prefixes; for others it raises ValueError.
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html
    """
    return all(_allows(rule, record.get(name)) for name, rule in pattern.items())


def to_event(record: Record, stream_arn: str) -> Record:
    """The record of a Lambda event for what GetRecords gave: plain JSON, with times in seconds and bytes in base64."""
    plain: Record = json.loads(json.dumps(record, default=_plain))
    return {**plain, "eventSourceARN": stream_arn}


def _allows(rule: Any, value: Any) -> bool:
    if isinstance(rule, Mapping):
        return isinstance(value, Mapping) and matches(rule, value)
    return any(_is(wanted, value) for wanted in rule)


def _is(wanted: Any, value: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return bool(wanted == value)
    if wanted.keys() != {"prefix"}:
        raise ValueError(f"filter rules other than a prefix are not implemented: {', '.join(wanted)}")
    return isinstance(value, str) and value.startswith(wanted["prefix"])


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} in a stream's record")
