"""DynamoDB's point-in-time recovery on ministack, whose own restores the present state: a backup has an earlier one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock, patch

import boto3

BEGINNING = datetime(2026, 1, 2, 8, 15, tzinfo=UTC)
"""The earliest time to which tables can be restored."""


class PointInTimeRecovery:
    """Restores tables to the points that `remember` knows, with the responses that AWS documents."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._backups: dict[datetime, str] = {}
        self._restored: dict[str, dict[str, Any]] = {}

    def remember(self, table: str, point: datetime) -> None:
        """Keep the present state of a table as that of a time."""
        backup = self._client.create_backup(TableName=table, BackupName="point")
        self._backups[point] = backup["BackupDetails"]["BackupArn"]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within, sessions of the scripts of bin/aws have this recovery."""

        def open_session() -> Any:
            session = boto3.session.Session()
            for event, handler in (
                ("before-call.dynamodb.RestoreTableToPointInTime", self._restore),
                ("after-call.dynamodb.DescribeTable", self._describe),
                ("after-call.dynamodb.DescribeContinuousBackups", self._window),
            ):
                session.events.register(event, handler)
            return session

        with patch("tools.deploy.account.boto3", Mock(Session=open_session)):
            yield

    def restore(self, source: str, target: str, point: datetime) -> Any:
        response = self._client.restore_table_from_backup(TargetTableName=target, BackupArn=self._backups[point])
        arn = self._client.describe_table(TableName=source)["Table"]["TableArn"]
        self._restored[target] = {"SourceTableArn": arn, "RestoreDateTime": point, "RestoreInProgress": True}
        return response

    def _restore(self, params: Any, **_: Any) -> tuple[Any, Any]:
        request = json.loads(params["body"])
        point = datetime.fromtimestamp(request["RestoreDateTime"], UTC)
        return Mock(status_code=200), self.restore(request["SourceTableName"], request["TargetTableName"], point)

    def _describe(self, parsed: Any, **_: Any) -> None:
        """A restored table is in creation when somebody looks at it for the first time."""
        table = parsed.get("Table", {})
        if summary := self._restored.get(table.get("TableName")):
            table["RestoreSummary"] = dict(summary)
            table["TableStatus"] = "CREATING" if summary["RestoreInProgress"] else table["TableStatus"]
            summary["RestoreInProgress"] = False

    def _window(self, parsed: Any, **_: Any) -> None:
        recovery = parsed.get("ContinuousBackupsDescription", {}).get("PointInTimeRecoveryDescription", {})
        if recovery.get("PointInTimeRecoveryStatus") == "ENABLED":
            recovery |= {"EarliestRestorableDateTime": BEGINNING, "LatestRestorableDateTime": max(self._backups)}
