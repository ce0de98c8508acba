"""Stream mode in the tests: stores, some of which do pattern D themselves, and the batches of the function."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterable
from contextlib import closing
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.config import Config

from lib.config import ROOT
from lib.ddb.items import Item, Message
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.store import StreamedMessageStore
from lib.users.accounts import User
from tests.support.stores import NewStore, stores_on

Handler = Callable[[dict[str, Any]], dict[str, Any]]

_sequence_numbers = itertools.count(10**15)  # DynamoDB Local counts from 1, and a batch may have records of both


class SettledStore(StreamedMessageStore):
    """Sends as in stream mode, and does pattern D before it returns."""

    def send(self, *, group_uuid: str, sender: User, text: str, **options: Any) -> Message:
        message = super().send(group_uuid=group_uuid, sender=sender, text=text, **options)
        SequenceNumbers(self._table).update(group_uuid, [message])
        return message


def settled_stores_on(client: Any, table: str) -> NewStore:
    """Makes such stores on one table, each with empty caches."""
    return stores_on(client, table, SettledStore)


def streamed_stores_on(client: Any, table: str) -> Callable[..., StreamedMessageStore]:
    """Makes stores in stream mode on one table; their messages wait for the function."""
    return stores_on(client, table, StreamedMessageStore)


def load_handler(name: str) -> ModuleType:
    """Load a function's `handler.py` as a new process of Lambda does."""
    spec = importlib.util.spec_from_file_location(f"{name}_handler", ROOT / "aws/lambdas" / name / "handler.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def store(dynamodb_client: Any, table: str) -> StreamedMessageStore:
    return streamed_stores_on(dynamodb_client, table)()


@pytest.fixture
def handle(dynamodb_url: str, table: str, monkeypatch: pytest.MonkeyPatch) -> Handler:
    """The handler of a function that has just started."""
    monkeypatch.setenv("DDB_TABLE", table)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url)
    module = load_handler("message_stream")
    return lambda event: module.handler(event, None)  # type: ignore[no-any-return]


def record(item: Item, event: str = "INSERT") -> dict[str, Any]:
    """A record of the stream: the change of an item."""
    number = next(_sequence_numbers)
    return {
        "eventID": f"event-{number}",
        "eventName": event,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1687774560.0,
            "Keys": {"pk": item["pk"], "sk": item["sk"]},
            "SequenceNumber": f"{number:021}",
            "SizeBytes": 300,
            "StreamViewType": "NEW_IMAGE",
            **({} if event == "REMOVE" else {"NewImage": item}),
        },
    }


def event(*items: Item) -> dict[str, Any]:
    """A batch of records of new items."""
    return {"Records": [record(item) for item in items]}


def failures(response: dict[str, Any]) -> list[str]:
    """The sequence numbers of the records that Lambda must deliver again."""
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def numbers(records: Iterable[dict[str, Any]]) -> list[str]:
    return [record["dynamodb"]["SequenceNumber"] for record in records]


def stream_records(client: Any, table: str) -> list[dict[str, Any]]:
    """All records of the table's stream, shard by shard."""
    arn = client.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    streams = boto3.client(
        "dynamodbstreams", endpoint_url=client.meta.endpoint_url, config=Config(account_id_endpoint_mode="disabled")
    )
    records: list[dict[str, Any]] = []
    with closing(streams):
        for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
            start = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
            iterator = streams.get_shard_iterator(**start)["ShardIterator"]
            while iterator:
                response = streams.get_records(ShardIterator=iterator)
                records += response["Records"]
                iterator = response.get("NextShardIterator") if response["Records"] else None
    return records
