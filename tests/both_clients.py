"""The DynamoDB client with its shortcuts and without, called alike, and what each of them then did."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from lib.config import DynamoDBSettings
from lib.ddb.table import connect
from tests.integration.api import Body

QUERY = {
    "TableName": "messages",
    "KeyConditionExpression": "pk = :pk",
    "ExpressionAttributeValues": {":pk": {"S": "MSG#ä"}},
    "Limit": 21,
    "ConsistentRead": True,
}
TRANSACTION = {
    "TransactItems": [
        {
            "Put": {
                "TableName": "messages",
                "Item": {"pk": {"S": "a"}, "seq": {"N": "1"}, "m": {"M": {"b": {"NULL": True}}}},
            }
        },
        {"Delete": {"TableName": "messages", "Key": {"pk": {"S": "b"}}}},
    ],
    "ClientRequestToken": "the same each time",
}


@dataclass(frozen=True)
class Outcome:
    """What a call came to: its answer, or the error's class and what it says; and the tries it took."""

    answer: dict[str, Any] | None
    error: str | None
    response: dict[str, Any] | None
    requests: list[AWSPreparedRequest] = field(compare=False)
    tries: int


def outcome(client: Any, operation: str, arguments: dict[str, Any]) -> Outcome:
    """Make the call; retries follow each other at once."""
    requests: list[AWSPreparedRequest] = []

    def note(request: AWSPreparedRequest, **_: Any) -> None:
        requests.append(request)

    client.meta.events.register_first("before-send.dynamodb", note)
    answer, error, response = None, None, None
    try:
        with patch("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0):
            answer = getattr(client, operation)(**arguments)
    except Exception as raised:
        error, response = type(raised).__name__, getattr(raised, "response", None)
    finally:
        client.meta.events.unregister("before-send.dynamodb", note)
    return Outcome(answer, error, response, requests, len(requests))


@contextmanager
def both_clients(**settings: Any) -> Iterator[tuple[Any, Any]]:
    """The two clients: with shortcuts, without."""
    settings = {"aws_default_region": "us-east-1"} | settings
    made = [DynamoDBSettings(ddb_shortcuts=mode, **settings) for mode in ("on", "off")]
    with patch("boto3.DEFAULT_SESSION", None):  # it would remember the environment of an earlier test
        on, off = map(connect, made)
    try:
        yield on, off
    finally:
        on.close()
        off.close()


@contextmanager
def answering(client: Any, answers: Iterable[Callable[[AWSPreparedRequest], AWSResponse]]) -> Iterator[None]:
    """Answer a client's tries in the network's place, one after the other."""
    left = iter(answers)

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        return next(left)(request)

    client.meta.events.register("before-send.dynamodb", answer)
    try:
        yield
    finally:
        client.meta.events.unregister("before-send.dynamodb", answer)


def said(status: int, body: object, *, crc: int | None = None, **headers: str) -> Callable[[Any], AWSResponse]:
    """An answer of DynamoDB's; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    checked = {"x-amz-crc32": str(zlib.crc32(content) if crc is None else crc), "x-amzn-RequestId": "R1", **named}
    return lambda request: AWSResponse(request.url, status, checked, Body(content))
