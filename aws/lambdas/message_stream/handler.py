"""AWS Lambda on the table's stream: pattern D for a batch of changes.

The event source mapping needs ReportBatchItemFailures: the response names the records that Lambda must deliver again.
https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html

With DATABASE_URL, the function also wakes the event streams of the members. Without it, the streams read their feeds
later.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import TYPE_CHECKING, Any

from lib.aws.dynamodb_client import DynamoDBClient
from lib.config import DynamoDBSettings, load
from lib.ddb.items import Conversation
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.table import Table
from lib.live.hub import Hint
from lib.logs import configure, log
from services.update_group import parse_record, update_groups

if TYPE_CHECKING:
    from lib.live.postgres import PostgresRelay


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Update the groups of new messages; `event` is a batch of a DynamoDB stream with NEW_IMAGE."""
    updater = _updater()
    failed = update_groups(updater.sequence_numbers, [parse_record(record) for record in event["Records"]])
    updater.wake()
    return {"batchItemFailures": [{"itemIdentifier": sequence_number} for sequence_number in failed]}


class _Updater:
    def __init__(self) -> None:
        settings = load(DynamoDBSettings)
        table = Table(DynamoDBClient(settings), settings.ddb_table)
        self.sequence_numbers = SequenceNumbers(table, self._note)
        self._hints: dict[str, Hint] = {}

    def wake(self) -> None:
        """Wake the streams of all members of updated conversations.

        It waits for Postgres, because Lambda stops the process when the handler ends. It never fails, because the
        updates stand: Lambda would deliver the batch again.
        """
        hints, self._hints = self._hints, {}
        try:
            if hints and (relay := _relay()):
                relay.notify(hints.values())
        except Exception as error:
            log("streams_not_woken", level=logging.WARNING, error=error)

    def _note(self, state: Conversation) -> None:
        self._hints[state.group_uuid] = Hint("message_group", tuple(state.members))


@cache
def _relay() -> PostgresRelay | None:
    url = os.environ.get("DATABASE_URL")
    if not url:
        return None
    from lib.live.postgres import PostgresRelay  # here, because a function without the database starts faster

    return PostgresRelay(url)


@cache
def _updater() -> _Updater:
    configure("info")
    return _Updater()
