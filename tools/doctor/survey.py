"""The survey: a compact note of every item in a temporary SQLite file, and what looks wrong in it, by SQL.

Memory stays bounded however big the table is: an item leaves a row on disk, and what is asked for comes row by row.
A scan is no snapshot, and the API may be writing meanwhile. So what looks wrong here is a suspicion, to be looked at
again; what does not is sound.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from lib.clock import sortable
from lib.ddb.items import Item, Key, key_of
from lib.ddb.keys import Kind
from tools.doctor.findings import Code, Finding
from tools.doctor.shapes import GROUP, counts, is_email, kind_of, parts, problems, strings, text, users, whole

_NOTES = """
CREATE TABLE message (grp, sk, seq, sender, shown, PRIMARY KEY (grp, sk)) WITHOUT ROWID;
CREATE TABLE row (owner, sk, grp, other, handle, name, shown, sender, seq, read_seq, PRIMARY KEY (owner, sk))
    WITHOUT ROWID;
CREATE TABLE state (grp PRIMARY KEY, seq, last, link, a, a_handle, a_name, a_read, b, b_handle, b_name, b_read)
    WITHOUT ROWID;
CREATE TABLE guard (a, b, grp, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE mention (uuid PRIMARY KEY, pk, sk) WITHOUT ROWID;
CREATE TABLE mention_in_row (uuid PRIMARY KEY, pk, sk) WITHOUT ROWID;
CREATE TABLE known (uuid PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE private (value PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE suspect_item (pk, sk, PRIMARY KEY (pk, sk)) WITHOUT ROWID;
CREATE TABLE suspect_pair (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE finding (code, keys, detail, mendable, mended);
"""

_INDEXES = """
CREATE INDEX row_of_group ON row (grp);
CREATE INDEX state_of_pair ON state (a, b);
CREATE TABLE counted AS
    SELECT grp, count(*) AS n, count(seq) AS numbered, min(seq) AS low, max(seq) AS high,
           count(DISTINCT seq) AS different
    FROM message GROUP BY grp;
CREATE UNIQUE INDEX counted_group ON counted (grp);
CREATE TABLE newest AS SELECT grp, max(sk) AS sk, shown, sender FROM message GROUP BY grp;
CREATE UNIQUE INDEX newest_group ON newest (grp);
"""

_ROW_IS_RIGHT = """
1 = (SELECT count(*) FROM row
     WHERE row.grp = state.grp AND owner = {me} AND other = {you} AND row.sk = last AND handle = {you}_handle
       AND name = {you}_name AND row.seq = state.seq AND read_seq = {me}_read
       AND (newest.sk IS NULL OR row.shown = newest.shown AND row.sender = newest.sender))
"""

# What is filled in are names of columns.
_SUSPECT_GROUPS = f"""
SELECT grp FROM (
    SELECT grp, max(sk) AS at FROM row WHERE grp NOT IN (SELECT grp FROM state) GROUP BY grp
    UNION ALL
    SELECT grp, sk FROM newest WHERE grp NOT IN (SELECT grp FROM state) AND grp NOT IN (SELECT grp FROM row)
    UNION ALL
    SELECT state.grp, last FROM state LEFT JOIN counted USING (grp) LEFT JOIN newest USING (grp)
    WHERE NOT coalesce(n = state.seq AND numbered = n AND different = n AND low = 1 AND high = n, state.seq = 0)
       OR NOT coalesce(last = sortable(newest.sk), newest.sk IS NULL)
       OR NOT (a_read BETWEEN 0 AND state.seq AND b_read BETWEEN 0 AND state.seq)
       OR 2 <> (SELECT count(*) FROM row WHERE row.grp = state.grp)
       OR NOT ({_ROW_IS_RIGHT.format(me="a", you="b")})
       OR NOT ({_ROW_IS_RIGHT.format(me="b", you="a")})
       OR EXISTS (SELECT 1 FROM message WHERE message.grp = state.grp AND message.sender NOT IN (a, b))
) ORDER BY at DESC
"""  # noqa: S608

_SUSPECT_PAIRS = """
SELECT a, b FROM state LEFT JOIN guard USING (a, b)
WHERE guard.grp IS NULL OR (guard.grp = state.grp) <> (link IS NULL) OR link <> guard.grp
UNION
SELECT guard.a, guard.b FROM guard LEFT JOIN state ON state.grp = guard.grp AND state.a = guard.a AND state.b = guard.b
WHERE state.grp IS NULL
UNION
SELECT a, b FROM suspect_pair
"""

_UNKNOWN_USERS = """
SELECT uuid, pk, sk FROM mention WHERE uuid NOT IN (SELECT uuid FROM known)
UNION ALL
SELECT uuid, pk, sk FROM mention_in_row
WHERE uuid NOT IN (SELECT uuid FROM known) AND uuid NOT IN (SELECT uuid FROM mention)
"""


class Survey:
    """The notes on one table; for one thread. Its file is gone when it is left."""

    def __enter__(self) -> Survey:
        self._folder = tempfile.TemporaryDirectory(prefix="cruddur-doctor-")
        self._notes = sqlite3.connect(Path(self._folder.name) / "notes.sqlite3", isolation_level=None)
        # The file is worth nothing after a crash, so nothing is done to keep it whole.
        self._notes.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_NOTES}")
        self._notes.create_function("sortable", 1, _sortable, deterministic=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._notes.close()
        self._folder.cleanup()

    def add_users(self, people: Iterable[tuple[str, Sequence[str | None]]]) -> None:
        """Note users: their uuid, and what of them must not stand in the table."""
        self._notes.execute("BEGIN")
        for uuid, private in people:
            self._notes.execute("INSERT OR IGNORE INTO known VALUES (?)", (uuid,))
            values = [(value.lower(),) for value in private if value]
            self._notes.executemany("INSERT OR IGNORE INTO private VALUES (?)", values)
        self._notes.execute("COMMIT")

    def add_items(self, items: Sequence[Item]) -> None:
        """Note a page of items. The users have to be noted before."""
        wrong = [{code for code, _ in problems(item)} for item in items]
        private = self.private(items)
        self._notes.execute("BEGIN")
        for table, rows in _notes(items, wrong).items():
            marks = ", ".join("?" * len(rows[0]))
            self._notes.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608
        suspects = [key_of(item) for item, codes in zip(items, wrong, strict=True) if codes or id(item) in private]
        self._notes.executemany("INSERT OR IGNORE INTO suspect_item VALUES (?, ?)", suspects)
        self._notes.execute("COMMIT")

    def private(self, items: Sequence[Item]) -> dict[int, list[str]]:
        """Where items hold an e-mail address, or what Postgres knows to be private: `id` of an item → attributes."""
        values = {value for item in items for _, value in strings(item)}
        lowered = json.dumps([value.lower() for value in values])
        query = "SELECT value FROM private WHERE value IN (SELECT value FROM json_each(?))"
        known = {value for (value,) in self._notes.execute(query, (lowered,))}
        held = {value for value in values if value.lower() in known or is_email(value)}
        if not held:
            return {}
        where = {id(item): sorted({at for at, value in strings(item) if value in held}) for item in items}
        return {item: attributes for item, attributes in where.items() if attributes}

    def close(self) -> None:
        """No more items: prepare for the questions."""
        self._notes.executescript(_INDEXES)

    def suspect_items(self) -> Iterator[Key]:
        yield from self._notes.execute("SELECT pk, sk FROM suspect_item")

    def suspect_groups(self) -> Iterator[str]:
        """Conversations, the one with the latest message first: of a pair's old ones, the newest is adopted first."""
        for (group,) in self._notes.execute(_SUSPECT_GROUPS):
            yield group

    def suspect_pair(self, a: str, b: str) -> None:
        """Have a pair among those to be looked at."""
        self._notes.execute("INSERT OR IGNORE INTO suspect_pair VALUES (?, ?)", (a, b))

    def suspect_pairs(self) -> Iterator[tuple[str, str]]:
        yield from self._notes.execute(_SUSPECT_PAIRS)

    def unknown_users(self) -> Iterator[tuple[str, Key]]:
        """Users whom Postgres did not have, each with an item that names them."""
        for uuid, pk, sk in self._notes.execute(_UNKNOWN_USERS):
            yield uuid, (pk, sk)

    def inbox_rows(self, group: str) -> list[Key]:
        """Where a conversation's rows were seen, as owner and sort key."""
        return self._notes.execute("SELECT owner, sk FROM row WHERE grp = ?", (group,)).fetchall()

    def groups_of(self, a: str, b: str) -> list[str]:
        """The conversations of a pair whose states were seen."""
        return [group for (group,) in self._notes.execute("SELECT grp FROM state WHERE (a, b) = (?, ?)", (a, b))]

    def report(self, finding: Finding, *, mended: bool) -> None:
        """Keep a finding, on disk as well: a table that is all wrong has as many as items."""
        row = (finding.code, json.dumps(finding.keys), finding.detail, finding.mendable, mended)
        self._notes.execute("INSERT INTO finding VALUES (?, ?, ?, ?, ?)", row)

    def findings(self, *, code: Code | None = None) -> Iterator[tuple[Finding, bool]]:
        """What was found, and whether it was mended."""
        query = "SELECT * FROM finding WHERE ?1 IS NULL OR code = ?1"
        for value, keys, detail, mendable, mended in self._notes.execute(query, (code,)):
            places = tuple((pk, sk) for pk, sk in json.loads(keys))
            yield Finding(Code(value), places, detail, bool(mendable)), bool(mended)

    def totals(self) -> dict[Code, tuple[int, int]]:
        """For each code, how often it was found and how many of these are left."""
        query = "SELECT code, count(*), count(*) - sum(mended) FROM finding GROUP BY code"
        return {Code(code): (count, left) for code, count, left in self._notes.execute(query)}


def _notes(items: Sequence[Item], wrong: Sequence[set[Code]]) -> dict[str, list[tuple[object, ...]]]:
    rows: dict[str, list[tuple[object, ...]]] = {}
    for item, codes in zip(items, wrong, strict=True):
        for table, row in _note(item, codes):
            rows.setdefault(table, []).append(row)
    return rows


def _note(item: Item, wrong: set[Code]) -> Iterator[tuple[str, tuple[object, ...]]]:
    """What is noted of an item. A text is told by its hash: it is only compared."""
    kind, (pk, sk), names = kind_of(item), key_of(item), parts(item)
    shown, user = hash(text(item, "message")), text(item, "user_uuid")
    if kind is Kind.MESSAGE and counts(item, wrong):
        yield "message", (names[0], sk, whole(item, "seq"), user, shown)
    elif kind is Kind.ROW and (group := text(item, GROUP)):
        named = (text(item, "user_handle"), text(item, "user_display_name"))
        numbers = (whole(item, "seq"), whole(item, "read_seq"))
        yield "row", (names[0], sk, group, user, *named, shown, text(item, "sender_uuid"), *numbers)
    elif kind is Kind.STATE and Code.SHAPE_UNKNOWN not in wrong:
        members = sorted((uuid, member["M"]) for uuid, member in item["members"]["M"].items())
        noted = [(u, m["handle"]["S"], m["display_name"]["S"], int(m["read_seq"]["N"])) for u, m in members]
        own = (names[0], whole(item, "seq"), text(item, "last_message_at"), text(item, "pair_group_uuid"))
        yield "state", (*own, *noted[0], *noted[1])
    elif kind is Kind.GUARD and len(names) == 2:
        yield "guard", (names[0], names[1], text(item, "group_uuid"))
    # Rows are moved by every message: another item is the better example.
    table = "mention_in_row" if kind is Kind.ROW else "mention"
    for each in users(item):
        yield table, (each, pk, sk)


def _sortable(timestamp: str | None) -> str | None:
    try:
        return sortable(timestamp) if timestamp else None
    except (ValueError, OverflowError):
        return None
