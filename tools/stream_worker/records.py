"""A stream's records: which of them are delivered, and as Lambda's event source mapping would."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

from lib.ddb import keys

Record = dict[str, Any]
"""A change of an item: eventID, eventName, dynamodb.Keys, dynamodb.NewImage, dynamodb.SequenceNumber, …"""


def sequence_number(record: Record) -> str:
    """What names the record in its shard, and its place there."""
    number: str = record["dynamodb"]["SequenceNumber"]
    return number


def is_new_message(record: Record) -> bool:
    """Whether the mapping of aws/cfn/messaging.yaml, by its filter pattern, would deliver the record."""
    return record["eventName"] == "INSERT" and keys.kind(record["dynamodb"]["Keys"]["pk"]["S"]) is keys.Kind.MESSAGE


def to_event(record: Record, stream_arn: str) -> Record:
    """The record of a Lambda event for what GetRecords gave: plain JSON, with times in seconds and bytes in base64."""
    plain: Record = json.loads(json.dumps(record, default=_plain))
    return {**plain, "eventSourceARN": stream_arn}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} in a stream's record")
