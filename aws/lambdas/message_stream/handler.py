"""AWS Lambda on the table's stream: pattern D for a batch of changes.

The event source mapping needs ReportBatchItemFailures: the response names the records that Lambda must deliver again.
https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

from __future__ import annotations

from functools import cache
from typing import Any

from lib.aws.dynamodb_client import DynamoDBClient
from lib.config import DynamoDBSettings, load
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.table import Table
from lib.logs import configure
from services.update_group import parse_record, update_groups


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Update the groups of new messages; `event` is a batch of a DynamoDB stream with NEW_IMAGE."""
    failed = update_groups(_updates(), [parse_record(record) for record in event["Records"]])
    return {"batchItemFailures": [{"itemIdentifier": sequence_number} for sequence_number in failed]}


@cache
def _updates() -> SequenceNumbers:
    configure("info")
    settings = load(DynamoDBSettings)
    return SequenceNumbers(Table(DynamoDBClient(settings), settings.ddb_table))
