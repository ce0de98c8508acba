"""The survey: a temporary SQLite file with the items of a scan, by conversation and pair, and the doctor's findings.

The file bounds the memory for tables of any size. A scan is no snapshot, and the API may write meanwhile. So the survey
selects only candidates, and the checks read them again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from lib.ddb.items import Item, Key, key_of
from lib.ddb.keys import STATE, Kind, is_time
from tools.doctor import shapes
from tools.doctor.findings import Code, Finding
from tools.doctor.pair_check import PairItems
from tools.doctor.reading import Messages, Reading, countable_messages

_ITEMS_PER_PAGE = 1_000

_TABLES = """
CREATE TABLE item (grp, kind, pk, sk, content, PRIMARY KEY (grp, kind, pk, sk)) WITHOUT ROWID;
CREATE TABLE pair (a, b, kind, pk, content, PRIMARY KEY (a, b, kind, pk)) WITHOUT ROWID;
CREATE TABLE mention (uuid, is_row, pk, sk, PRIMARY KEY (uuid, is_row)) WITHOUT ROWID;
CREATE TABLE user (uuid PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE private (value PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE candidate (pk, sk, PRIMARY KEY (pk, sk)) WITHOUT ROWID;
CREATE TABLE finding (code, keys, detail, repairable, repaired);
"""

# The example is an item that is no row, if there is one: every message moves rows.
_UNKNOWN_USERS = """
SELECT uuid, pk, sk, min(is_row) FROM mention WHERE uuid NOT IN (SELECT uuid FROM user) GROUP BY uuid
"""


class Survey:
    """The items of one table, for one thread. `close` removes the file."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("")  # SQLite spills this database to a temporary file
        self._file.executescript(f"PRAGMA journal_mode = OFF; PRAGMA temp_store = FILE; {_TABLES}")
        self.close = self._file.close

    def add_users(self, users: Iterable[tuple[str, Sequence[str | None]]]) -> None:
        """Add users: their uuids, and private values that the table must not hold."""
        for uuid, private in users:
            self._insert("user", uuid)
            for value in filter(None, private):
                self._insert("private", value.lower())

    def add_items(self, items: Iterable[Item]) -> int:
        """Add items, after the users; return their number."""
        count, remaining = 0, iter(items)
        while page := list(islice(remaining, _ITEMS_PER_PAGE)):
            private = self.private_values(page)
            for item in page:
                self._add(item)
                if shapes.problems(item) or (private and shapes.attributes_with(item, private)):
                    self._insert("candidate", *key_of(item))
            count += len(page)
        return count

    def private_values(self, items: Sequence[Item]) -> set[str]:
        """The texts of these items that are private values of a user, or e-mail addresses that no user chose."""
        values = {value for item in items for value in shapes.strings(item)}
        lowered = json.dumps([value.lower() for value in values])
        query = "SELECT value FROM private WHERE value IN (SELECT value FROM json_each(?))"
        private = {value for (value,) in self._file.execute(query, (lowered,))}
        addresses = {value for item in items for value in shapes.system_strings(item) if shapes.EMAIL.search(value)}
        return addresses | {value for value in values if value.lower() in private}

    def candidate_items(self) -> Iterator[Key]:
        yield from self._file.execute("SELECT pk, sk FROM candidate")

    def groups(self) -> Iterator[str]:
        """All conversations, latest item first, so that the newest of a pair migrates first."""
        query = "SELECT grp FROM item GROUP BY grp ORDER BY max(nullif(sk, ?)) DESC"
        for (group,) in self._file.execute(query, (STATE,)):
            yield group

    def twins(self) -> Iterator[tuple[str, str, list[str]]]:
        """The message uuids that occur several times in a conversation: its uuid, the message's, and the sort keys."""
        query = """
        SELECT grp, uuid, json_group_array(sk)
        FROM (SELECT grp, json_extract(content, '$.message_uuid.S') AS uuid, sk FROM item WHERE kind = ?)
        WHERE uuid IS NOT NULL GROUP BY grp, uuid HAVING count(*) > 1
        """
        for group, uuid, sort_keys in self._file.execute(query, (Kind.MESSAGE,)):
            yield group, uuid, sorted(json.loads(sort_keys))

    def conversation(self, group_uuid: str, *, now: datetime) -> Reading:
        """A conversation in the scan; hashes replace its message texts."""
        state = next(self._items(group_uuid, Kind.STATE), None)
        messages = Messages(countable_messages(self._items(group_uuid, Kind.MESSAGE), state, now=now))
        return Reading(group_uuid, state, list(self._items(group_uuid, Kind.ROW)), messages)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """All pairs of users that have a guard, a conversation or a block."""
        yield from self._file.execute("SELECT DISTINCT a, b FROM pair")

    def pair(self, a: str, b: str) -> PairItems:
        """The guard of a pair in the scan, the states of its conversations, and its blocks."""
        query = "SELECT content FROM pair WHERE (a, b) = (?, ?)"
        items = [json.loads(content) for (content,) in self._file.execute(query, (a, b))]
        guard = next((item for item in items if shapes.kind_of(item) is Kind.GUARD), None)
        states, blocks = (
            {shapes.parts(item)[0]: item for item in items if shapes.kind_of(item) is kind}
            for kind in (Kind.STATE, Kind.BLOCK)
        )
        return PairItems(guard, states, blocks)

    def unknown_users(self) -> Iterator[tuple[str, Key]]:
        """The users that Postgres lacks, each with an item that names them."""
        for uuid, pk, sk, _ in self._file.execute(_UNKNOWN_USERS):
            yield uuid, (pk, sk)

    def report(self, finding: Finding, *, repaired: bool) -> None:
        """Store a finding on disk: a table may have as many findings as items."""
        self._insert("finding", finding.code, json.dumps(finding.keys), finding.detail, finding.repairable, repaired)

    def findings(self, *, code: Code | None = None) -> Iterator[tuple[Finding, bool]]:
        """The findings, and whether each was repaired."""
        query = "SELECT * FROM finding WHERE ?1 IS NULL OR code = ?1"
        for value, keys, detail, repairable, repaired in self._file.execute(query, (code,)):
            places = tuple((pk, sk) for pk, sk in json.loads(keys))
            yield Finding(Code(value), places, detail, bool(repairable)), bool(repaired)

    def totals(self) -> dict[Code, tuple[int, int]]:
        """For each code, the number of findings and how many of them are left."""
        query = "SELECT code, count(*), count(*) - sum(repaired) FROM finding GROUP BY code"
        return {Code(code): (count, left) for code, count, left in self._file.execute(query)}

    def _add(self, item: Item) -> None:
        kind, (pk, sk), names = shapes.kind_of(item), key_of(item), shapes.parts(item)
        content = json.dumps({**item, "message": {"S": str(hash(shapes.text(item, "message")))}}, default=str)
        group = shapes.text(item, shapes.GROUP) if kind is Kind.ROW else names[0]
        if group and (kind is Kind.STATE or (kind in (Kind.ROW, Kind.MESSAGE) and is_time(sk))):
            self._insert("item", group, kind, pk, sk, content)
        if kind in (Kind.STATE, Kind.GUARD, Kind.BLOCK) and shapes.readable(item):
            pair = item["members"]["M"] if kind is Kind.STATE else names if kind is Kind.GUARD else (*names, sk)
            self._insert("pair", *sorted(pair), kind, pk, content)
        for uuid in shapes.users(item):
            self._insert("mention", uuid, kind is Kind.ROW, pk, sk)

    def _items(self, group_uuid: str, kind: Kind) -> Iterator[Item]:
        query = "SELECT content FROM item WHERE (grp, kind) = (?, ?) ORDER BY pk, sk"
        for (content,) in self._file.execute(query, (group_uuid, kind)):
            yield json.loads(content)

    def _insert(self, table: str, *values: object) -> None:
        marks = ", ".join("?" * len(values))
        self._file.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", values)  # noqa: S608
