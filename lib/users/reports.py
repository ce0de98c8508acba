"""The reports of users about users, in Postgres. A report has ids, times and a reason, never the text of a message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # as in lib/users/directory.py
    from lib.postgres.database import Queries, Row


@dataclass(frozen=True, slots=True)
class NewReport:
    """A report about a user: about a message, or about the conversation if `message_created_at` is None."""

    reporter_uuid: str
    reported_user_uuid: str
    message_group_uuid: str
    message_created_at: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report, with the two users' handles of today; with their uuids if the rows are gone."""

    created_at: datetime
    reporter: str
    reported: str
    message_group_uuid: str
    message_created_at: str | None
    reason: str


class Reports:
    """The table of reports. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Queries) -> None:
        self._database = database

    def add(self, report: NewReport) -> str:
        """Store a report; return its uuid."""
        row = self._database.one(
            "reports/create",
            reporter_uuid=report.reporter_uuid,
            reported_user_uuid=report.reported_user_uuid,
            message_group_uuid=report.message_group_uuid,
            message_created_at=report.message_created_at,
            reason=report.reason,
        )
        assert row is not None  # noqa: S101 - an INSERT without ON CONFLICT
        return str(row["uuid"])

    def newest(self, *, limit: int, reported_user_uuid: str | None = None) -> list[StoredReport]:
        """The newest reports, newest first: about one user, or about all."""
        rows = self._database.all("reports/newest", limit=limit, reported_user_uuid=reported_user_uuid)
        return [_to_report(row) for row in rows]


def _to_report(row: Row) -> StoredReport:
    return StoredReport(
        created_at=row["created_at"],
        reporter=row["reporter_handle"] or str(row["reporter_uuid"]),
        reported=row["reported_handle"] or str(row["reported_user_uuid"]),
        message_group_uuid=str(row["message_group_uuid"]),
        message_created_at=row["message_created_at"],
        reason=row["reason"],
    )
