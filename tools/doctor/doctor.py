"""The doctor: surveys the table, reads candidates again, reports differences, and repairs them with `fix`.

A check reads an item, a conversation or a pair, and compares it with its expected form. Each difference is a finding.
A repair rewrites the items on condition that nobody else has changed them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from lib.clock import Clock, now
from lib.ddb.errors import ConversationNotFound, WriteConflict, WriteRefused
from lib.ddb.items import key_of
from lib.ddb.table import Table
from lib.deadline import pause
from lib.postgres.database import Database
from lib.users.directory import User
from tools.doctor.conversation_check import ConversationCheck, findings_of
from tools.doctor.findings import Code, Finding
from tools.doctor.item_check import ItemCheck
from tools.doctor.pair_check import PairCheck
from tools.doctor.reading import Reader
from tools.doctor.shapes import is_uuid
from tools.doctor.survey import Survey

T = TypeVar("T")

_USERS_PER_PAGE = 10_000
_ITEMS_PER_PAGE = 1_000
_ATTEMPTS = 24

Progress = Callable[[str, int, int | None], object]
"""Gets the current step, the number of things done, and their total or None."""


class Doctor:
    """One check of one table. The caller enters `survey`, which has the findings afterwards."""

    def __init__(
        self,
        client: Any,
        table: Table,
        database: Database,
        survey: Survey,
        *,
        fix: bool = False,
        clock: Clock = now,
        progress: Progress = lambda step, done, total: None,
    ) -> None:
        self._database = database
        self._survey = survey
        self._fix = fix
        self._progress = progress
        self._reader = Reader(client, table, clock)

    def check(self, group_uuid: str | None = None) -> int:
        """Check the whole table by a scan, or one conversation by queries; return the number of items read.

        Raises StoreUnavailable, WriteConflict, DatabaseUnavailable.
        """
        survey, items = self._survey, self._survey_items(group_uuid)
        if self._fix:  # a conversation can migrate only if its items have their users' names
            for key in self._each("Repairing items", survey.candidate_items()):
                repaired, _ = self._examine(ItemCheck(self._reader, self.users, survey, key))
                self._report(repaired, [])
        for group in self._each("Looking at conversations", survey.groups()):
            self._check_conversation(group)
        for pair in self._each("Looking at pairs", survey.candidate_pairs()):
            self._report(*self._examine(PairCheck(self._reader, pair, seen=survey.groups_of(*pair))))
        for key in self._each("Looking at items", survey.candidate_items()):
            self._report([], ItemCheck(self._reader, self.users, survey, key).findings())
        for uuid, key in self._each("Looking at users", survey.unknown_users()):
            if not self.users([uuid]) and (item := self._reader.item(key)):
                survey.report(Finding.of(Code.USER_UNKNOWN, item, detail=f"the user {uuid}"), repaired=False)
        return items

    def users(self, uuids: Sequence[str]) -> Mapping[str, User]:
        """The users in Postgres with these uuids. Raises DatabaseUnavailable."""
        valid = [uuid for uuid in uuids if is_uuid(uuid)]
        rows = self._database.all("users/by_uuids", uuids=valid) if valid else []
        return {str(row["uuid"]): User(str(row["uuid"]), row["handle"], row["display_name"]) for row in rows}

    def _survey_items(self, group_uuid: str | None) -> int:
        self._survey.add_users(self._private_values())
        total, count = None if group_uuid else self._reader.item_count(), 0
        items = self._reader.group(group_uuid) if group_uuid else self._reader.scan()
        while page := list(islice(items, _ITEMS_PER_PAGE)):
            self._survey.add_items(page)
            count += len(page)
            self._progress("Reading items", count, total)
        return count

    def _examine(self, check: ItemCheck | ConversationCheck | PairCheck) -> tuple[list[Finding], list[Finding]]:
        """The repaired findings of a check, and those that are left."""
        findings = left = check.findings()
        for attempt in range(_ATTEMPTS if self._fix else 0):
            try:
                if not check.repair():
                    break
            except (WriteRefused, WriteConflict, ConversationNotFound):
                pause(attempt)
            left = check.findings()
            if not left:
                break
        places = {(finding.code, finding.keys) for finding in left}
        return [finding for finding in findings if (finding.code, finding.keys) not in places], left

    def _report(self, repaired: Iterable[Finding], left: Iterable[Finding]) -> None:
        for findings, is_repaired in ((repaired, True), (left, False)):
            for finding in findings:
                self._survey.report(finding, repaired=is_repaired)

    def _check_conversation(self, group_uuid: str) -> None:
        scanned = self._survey.conversation(group_uuid, now=self._reader.clock())
        if findings_of(scanned):
            check = ConversationCheck(self._reader, self.users, group_uuid, seen=[key_of(row) for row in scanned.rows])
            repaired, left = self._examine(check)
            self._report(repaired, left)
            if any(finding.code is Code.NOT_MIGRATED for finding in repaired):
                self._survey.add_candidate_pair(*check.reading.members)

    def _private_values(self) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
        """Every user's uuid, e-mail address and Cognito id."""
        after, count = UUID(int=0), 0
        while page := self._database.all("users/after", after=after, limit=_USERS_PER_PAGE):
            yield from ((str(row["uuid"]), (row["email"], row["cognito_user_id"])) for row in page)
            after, count = page[-1]["uuid"], count + len(page)
            self._progress("Reading users", count, None)

    def _each(self, what: str, things: Iterable[T]) -> Iterator[T]:
        for count, thing in enumerate(things, start=1):
            yield thing
            self._progress(what, count, None)
