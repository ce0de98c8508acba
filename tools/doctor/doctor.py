"""The doctor: surveys the table, reads candidates again, reports differences, and repairs them with `fix`.

A check reads an item, a conversation or a pair, and compares it with its expected form. Each difference is a finding.
A repair rewrites the items on condition that nobody else has changed them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import groupby
from operator import itemgetter

from rich.progress import Progress

from lib.ddb.errors import ConversationNotFound, WriteConflict, WriteRefused
from lib.ddb.items import conversation_key, key_of
from lib.ddb.migration import check_index
from lib.ddb.schema import schema_mismatches
from lib.deadline import pause
from tools.doctor.conversation_check import check_conversation, findings_of
from tools.doctor.findings import Code, Finding, Result
from tools.doctor.item_check import check_item
from tools.doctor.pair_check import Pair, check_pair, is_sound, pair_of
from tools.doctor.reading import Reader
from tools.doctor.survey import Survey
from tools.doctor.twin_check import check_twins

_ATTEMPTS = 24


class Doctor:
    """One check of one table. Afterwards `survey` has the findings; the caller closes it."""

    def __init__(self, reader: Reader, survey: Survey, progress: Progress, *, fix: bool = False) -> None:
        self._reader = reader
        self._survey = survey
        self._progress = progress
        self._fix = fix

    def check(self, group_uuid: str | None = None) -> int:
        """Check the whole table by a scan, or one conversation by queries; return the number of items read.

        Raises StoreUnavailable, also if the table lacks its index; WriteConflict, DatabaseUnavailable.
        """
        reader, survey, track = self._reader, self._survey, self._progress.track
        check_index(reader.table)
        for mismatch in schema_mismatches(reader.client, reader.table.name):
            survey.report(Finding.of(Code.TABLE_SCHEMA, detail=mismatch), repaired=False)
        survey.add_users(track(reader.private_values(), description="Reading users"))
        items = reader.group(group_uuid) if group_uuid else reader.scan()
        total = None if group_uuid else reader.item_count()
        count = survey.add_items(track(items, total=total, description="Reading items"))
        if self._fix:  # first, because a conversation can migrate only if its items have their users' names
            for key in track(survey.candidate_items(), description="Repairing items"):
                self._examine(partial(check_item, reader, survey, key), report_left=False)
        self._check_twins()
        for group in track(survey.groups(), description="Checking conversations"):
            self._check_conversation(group)
        for pair in track(survey.pairs(), description="Checking pairs"):
            self._check_pair(pair)
        for key in track(survey.candidate_items(), description="Checking items"):
            self._examine(partial(check_item, reader, survey, key))
        for uuid, key in track(survey.unknown_users(), description="Checking users"):
            if not reader.users([uuid]) and (item := reader.item(key)):
                survey.report(Finding.of(Code.USER_UNKNOWN, item, detail=f"the user {uuid}"), repaired=False)
        return count

    def _check_twins(self) -> None:
        twins = self._progress.track(self._survey.twins(), description="Checking the uuids of messages")
        for group, twins_of_group in groupby(twins, key=itemgetter(0)):
            repaired = [self._examine(partial(check_twins, self._reader, *places)) for places in twins_of_group]
            if any(repaired):
                self._check_conversation(group, is_changed=True)

    def _check_conversation(self, group_uuid: str, *, is_changed: bool = False) -> None:
        """Check a conversation if the scan has a difference, or if it `is_changed` since."""
        scanned = self._survey.conversation(group_uuid, now=self._reader.clock())
        if is_changed or findings_of(scanned):
            keys = [key_of(row) for row in scanned.rows]
            repaired = self._examine(partial(check_conversation, self._reader, group_uuid, scanned=keys))
            state = self._reader.table.get(conversation_key(group_uuid))
            if state and any(finding.code is Code.NOT_MIGRATED for finding in repaired):
                self._check_pair(pair_of(state), migrated=True)

    def _check_pair(self, pair: Pair, *, migrated: bool = False) -> None:
        items = self._survey.pair(*pair)
        if migrated or not is_sound(pair, items):
            self._examine(partial(check_pair, self._reader, pair, scanned=items.states, migrated=migrated))

    def _examine(self, check: Callable[[], Result], *, report_left: bool = True) -> list[Finding]:
        """Report the findings of a check after the repair; return the repaired ones."""
        findings, repair = check()
        left = findings
        for attempt in range(_ATTEMPTS if self._fix else 0):
            if repair is None:
                break
            try:
                repair()
            except (WriteRefused, WriteConflict, ConversationNotFound):
                pause(attempt)
            left, repair = check()
        places = {(finding.code, finding.keys) for finding in left}
        repaired = [finding for finding in findings if (finding.code, finding.keys) not in places]
        for finding in repaired:
            self._survey.report(finding, repaired=True)
        for finding in left if report_left else ():
            self._survey.report(finding, repaired=False)
        return repaired
