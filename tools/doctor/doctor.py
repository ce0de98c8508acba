"""The doctor at work: survey the table, look again at what seemed wrong, and with `fix` mend what needs no decision.

Brings the users in, whom lib/doctor does not know where to find. What is found stays in the survey's file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

from lib.clock import Clock, now
from lib.ddb.errors import WriteConflict
from lib.ddb.items import Item, Key
from lib.ddb.table import Table
from lib.ddb.transactions import StateChanged
from lib.deadline import pause
from lib.postgres.database import Database
from lib.users.directory import User
from tools.doctor.diagnosis import Diagnosis, without_state
from tools.doctor.findings import Code, Finding, found
from tools.doctor.pairs import Pair, PairReading, mend_pair, pair_findings, read_pair
from tools.doctor.reading import Reader, Reading
from tools.doctor.repair import Moved, Repair, repeats_its_key
from tools.doctor.scanning import about, pages
from tools.doctor.shapes import is_uuid, problems, text
from tools.doctor.survey import Survey

T = TypeVar("T")

_USERS_A_PAGE = 10_000
_ATTEMPTS = 24

Progress = Callable[[str, int, int | None], object]
"""Told what is being done, how much of it is done, and of how much, if that is known."""


class Doctor:
    """One visit to one table; `survey` has to be entered, and has the findings afterwards."""

    def __init__(
        self,
        client: Any,
        table: Table,
        database: Database,
        survey: Survey,
        *,
        fix: bool = False,
        clock: Clock = now,
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        self._client = client
        self._table = table
        self._database = database
        self._survey = survey
        self._fix = fix
        self._progress = progress
        self._reader = Reader(client, table, clock=clock)
        self._repair = Repair(table, self._reader, self.users)

    def visit(self, group_uuid: str | None = None) -> int:
        """Look at the whole table by a scan, or at one conversation by queries; how many items were read.

        Raises StoreUnavailable, WriteConflict, DatabaseUnavailable.
        """
        survey, reader = self._survey, self._reader
        survey.add_users(self._private())
        expected, seen = None if group_uuid else about(self._client, self._table.name), 0
        for page in reader.pages_of_group(group_uuid) if group_uuid else pages(self._client, self._table.name):
            survey.add_items(page)
            seen += len(page)
            self._progress("Reading items", seen, expected)
        survey.close()
        if self._fix:  # what lacks names cannot be adopted
            for key in self._each("Mending items", survey.suspect_items()):
                self._mend_item(key)
        for group in self._each("Looking at conversations", [group_uuid] if group_uuid else survey.suspect_groups()):
            self._see_conversation(group)
        for pair in self._each("Looking at pairs", self._pairs(group_uuid)):
            self._see_pair(pair)
        for key in self._each("Looking at items", survey.suspect_items()):
            for finding in self._item_findings(self._reader.item(key)):
                survey.report(finding, mended=False)
        for uuid, key in self._each("Looking at users", survey.unknown_users()):
            if not self.users([uuid]) and (item := reader.item(key)):
                survey.report(found(Code.USER_UNKNOWN, item, detail=f"the user {uuid}"), mended=False)
        return seen

    def users(self, uuids: Sequence[str]) -> Mapping[str, User]:
        """The users with these uuids, those that there are. Raises DatabaseUnavailable."""
        asked = [uuid for uuid in uuids if is_uuid(uuid)]
        rows = self._database.all("users/by_uuids", uuids=asked) if asked else []
        return {str(row["uuid"]): User(str(row["uuid"]), row["handle"], row["display_name"]) for row in rows}

    def _mend_item(self, key: Key) -> None:
        for finding in self._item_findings(item := self._reader.item(key)):
            if item and finding.mendable:
                with suppress(Moved):  # then it is looked at again in the end
                    if self._repair.item(item, finding.code):
                        self._survey.report(finding, mended=True)

    def _item_findings(self, item: Item | None) -> list[Finding]:
        """What is wrong with an item by itself: one finding for each code."""
        if item is None:
            return []
        where: dict[Code, set[str]] = {}
        for code, attribute in problems(item):
            where.setdefault(code, set()).add(attribute)
        for attribute in self._survey.private([item]).get(id(item), []):
            where.setdefault(Code.PRIVATE_DATA, set()).add(attribute)
        mendable = {
            Code.NAMES_MISSING: lambda: bool(self.users([text(item, "user_uuid") or ""])),
            Code.INDEX_ENTRY_FOREIGN: lambda: repeats_its_key(item),
        }
        return [
            found(code, item, detail=", ".join(sorted(attributes)), mendable=mendable.get(code, lambda: True)())
            for code, attributes in where.items()
        ]

    def _see_conversation(self, group_uuid: str) -> None:
        reading, findings = self._diagnose(group_uuid)
        left = self._mend(reading, findings) if self._fix else findings
        self._report(findings, left)

    def _diagnose(self, group_uuid: str) -> tuple[Reading, list[Finding]]:
        reading = self._reader.conversation(group_uuid, seen=self._survey.inbox_rows(group_uuid))
        if not reading.legible:
            return reading, []  # its shape is what is wrong
        state = reading.state
        return reading, list(Diagnosis(reading, state).findings() if state else without_state(reading))

    def _mend(self, reading: Reading, findings: list[Finding]) -> list[Finding]:
        """Take steps until there is none to take; what is left."""
        for attempt in range(_ATTEMPTS):
            if not any(finding.mendable for finding in findings):
                break
            try:
                if not self._repair.step(reading, findings):
                    break
            except (Moved, StateChanged, WriteConflict):
                pause(attempt)
            adopted = reading.item is None
            reading, findings = self._diagnose(reading.group_uuid)
            if adopted and len(members := reading.members) == 2:
                self._survey.suspect_pair(members[0], members[1])
        return findings

    def _pairs(self, group_uuid: str | None) -> Iterable[Pair]:
        if group_uuid is None:
            return self._survey.suspect_pairs()
        members = self._reader.conversation(group_uuid).members
        return [(members[0], members[1])] if len(members) == 2 else []

    def _see_pair(self, pair: Pair) -> None:
        reading = self._read_pair(pair)
        findings = left = pair_findings(self._reader, reading)
        # Of several, what was adopted just now may be newer than what the guard names, with nothing wrong.
        wanted = self._fix and (findings or reading.outdated)
        for attempt in range(_ATTEMPTS if wanted else 0):
            try:
                mend_pair(self._table, reading)
            except (Moved, WriteConflict):
                pause(attempt)
            reading = self._read_pair(pair)
            left = pair_findings(self._reader, reading)
            if not left:
                break
        self._report(findings, left)

    def _read_pair(self, pair: Pair) -> PairReading:
        return read_pair(self._reader, pair, seen=self._survey.groups_of(*pair))

    def _report(self, findings: Iterable[Finding], left: Sequence[Finding]) -> None:
        codes = {finding.code for finding in left}
        for finding in findings:
            if finding.code not in codes:
                self._survey.report(finding, mended=True)
        for finding in left:
            self._survey.report(finding, mended=False)

    def _private(self) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
        """Every user's uuid, and their e-mail address and Cognito id."""
        after, count = UUID(int=0), 0
        while page := self._database.all("users/after", after=after, limit=_USERS_A_PAGE):
            yield from ((str(row["uuid"]), (row["email"], row["cognito_user_id"])) for row in page)
            after, count = page[-1]["uuid"], count + len(page)
            self._progress("Reading users", count, None)

    def _each(self, what: str, things: Iterable[T]) -> Iterator[T]:
        for count, thing in enumerate(things, start=1):
            yield thing
            self._progress(what, count, None)
