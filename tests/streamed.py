"""Stream mode in the tests: stores that wait until the function has done its part, and the function's batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from lib.ddb.cursor import CursorSigner
from lib.ddb.group_updates import GroupUpdates
from lib.ddb.items import Item, Message
from lib.ddb.store import StreamedMessageStore
from lib.ddb.table import Table
from lib.users import User
from tests.stores import NewStore

_sequence_numbers = itertools.count(1)


class SettledStore(StreamedMessageStore):
    """Sends as in stream mode, and lets pattern D happen before it answers."""

    def send(self, *, group_uuid: str, sender: User, text: str, **options: Any) -> Message:
        message = super().send(group_uuid=group_uuid, sender=sender, text=text, **options)
        GroupUpdates(self._table).update(group_uuid, [message])
        return message


def settled_stores_on(client: Any, table: str) -> NewStore:
    """Makes such stores on one table; each remembers nothing at first."""

    def make(**options: Any) -> SettledStore:
        return SettledStore(Table(client, table), CursorSigner("a secret of the tests"), **options)

    return make


def streamed_store(client: Any, table: str, **options: Any) -> StreamedMessageStore:
    """A store in stream mode whose messages wait for the function."""
    return StreamedMessageStore(Table(client, table), CursorSigner("a secret of the tests"), **options)


def record(item: Item, event: str = "INSERT") -> dict[str, Any]:
    """An item's change as the stream gives it."""
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
    """A batch in which these items are new."""
    return {"Records": [record(item) for item in items]}


def failures(answer: dict[str, Any]) -> list[str]:
    """What is to be delivered again."""
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def numbers(records: Iterable[dict[str, Any]]) -> list[str]:
    return [each["dynamodb"]["SequenceNumber"] for each in records]
