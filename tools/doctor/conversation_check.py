"""The check of one conversation: its expected state, rows and message numbers, the differences, and the rewrite.

Messages and members are the truth. A repair has several steps; after a crash the next run continues. It rewrites the
state before the numbers of the messages: then read positions count in the new numbers, and a message that is sent
meanwhile gets the right number.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial

from lib.clock import from_timestamp, sortable
from lib.ddb.inbox_rows import write_rows
from lib.ddb.items import Conversation, InboxRow, Item, Key, Message, key_of, wire_key
from lib.ddb.keys import STATE
from lib.ddb.migration import migrate_conversation
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.table import Table, Write
from lib.ddb.transactions import KeyTaken, inbox_rows, set_seq, update_state, upsert_row
from tools.doctor.findings import Code, Finding, Repair, Result
from tools.doctor.reading import Reader, Reading
from tools.doctor.rewrite import rewrite, write_all
from tools.doctor.shapes import NAMES, readable, text, whole

_TICKS_TOGETHER = timedelta(seconds=1)
"""The longest that a state's time may be after its newest message: each row with a taken key moves it a microsecond."""


class Expected:
    """The expected items of a conversation that has a state, and the differences. It reads no table."""

    def __init__(self, reading: Reading, actual: Conversation) -> None:
        self._reading = reading
        self.messages = messages = reading.messages
        self.actual = actual
        seqs = messages.seqs
        numbered = len(seqs) - seqs.count(0)
        in_sequence = _is_sequence(seqs, numbered)
        self.only_late = in_sequence and numbered < len(seqs) and actual.seq == numbered
        """Whether all numbers are right, but some messages of stream mode have none yet."""
        self.is_numbered = in_sequence and numbered == len(seqs)
        self.newest = messages.newest_numbered if self.only_late else messages.newest
        """The message that the inbox rows show."""
        seq = numbered if self.only_late else len(seqs)
        last_seqs = messages.last_seqs if self.only_late or self.is_numbered else messages.last_places
        members = {}
        for uuid, member in actual.members.items():
            # If the state's `seq` is right, so are its read positions.
            read_seq = member.read_seq if seq == actual.seq else _count_read(seqs, member.read_seq)
            last_seq = None if member.last_seq is None else last_seqs.get(uuid, 0)
            members[uuid] = replace(member, read_seq=max(0, min(read_seq, seq)), last_seq=last_seq)
        self.state = replace(actual, seq=seq, members=members, last_message_at=self._last_message_at())
        rows = {key_of(row.key()): row.to_item() for row in self.rows_in(self.state)}
        self.surplus = [row for row in reading.rows if key_of(row) not in rows]
        self.non_members = [item for sender, item in messages.senders.items() if sender not in actual.members]
        items = {key_of(item): item for item in (actual.to_item(), *reading.rows)}
        expected = [self.state.to_item(), *(rows.values() if reading.is_consistent else ())]
        self.differences = {key_of(item): self._difference(items.get(key_of(item)), item) for item in expected}
        """The detail of a finding for the state and for each row, by key; empty without a difference."""

    def rows_in(self, state: Conversation) -> list[InboxRow]:
        """Both rows of a state. Without messages they keep their text."""
        shown: Item = self.newest or max(self._reading.rows, key=lambda row: row["sk"]["S"], default={})
        sender = text(shown, "user_uuid" if self.newest else "sender_uuid")
        return inbox_rows(
            state, text=text(shown, "message") or "", sender_uuid=sender, message_uuid=text(shown, "message_uuid")
        )

    def findings(self) -> Iterator[Finding]:
        """Every difference."""
        messages = self.messages
        if messages.newest and not self.is_numbered:
            places = messages.late or [messages.newest]
            late, count = messages.seqs.count(0), len(messages.seqs)
            detail = f"{late} of {count} messages have no number" if late else f"{count} messages with gaps or doubles"
            repairable = not (self.only_late and self.non_members)
            yield Finding.of(Code.MESSAGE_NUMBERS, *places, detail=detail, repairable=repairable)
        if self.non_members:
            yield Finding.of(Code.SENDER_NOT_MEMBER, *self.non_members)
        unnumbered = {key_of(row) for row in self._reading.rows if "seq" not in row}
        for key, detail in self.differences.items():
            if detail:
                row_code = Code.ROW_WITHOUT_NUMBERS if key in unnumbered else Code.INBOX_ROW
                yield Finding(Code.CONVERSATION_STATE if key[1] == STATE else row_code, (key,), detail)
        for code, rows in (
            (Code.ROW_WITHOUT_NUMBERS, [row for row in self.surplus if key_of(row) in unnumbered]),
            (Code.INBOX_ROW, [row for row in self.surplus if key_of(row) not in unnumbered]),
        ):
            if rows:
                yield Finding.of(code, *rows, detail="surplus")

    def _difference(self, actual: Item | None, expected: Item) -> str:
        if actual is None:
            return "missing"
        # The check of the item reports missing names; rows of an older backend have no `message_uuid`; and without
        # messages the rows have the only texts.
        ignored = {*NAMES, "message_uuid"} - actual.keys() | (set() if self.newest else {"message", "sender_uuid"})
        surplus = ["blocks"] if "blocks" in actual and "blocks" not in expected else []
        compared = {name: expected[name] for name in expected if name not in ignored}
        return ", ".join([*_differences(actual, compared), *surplus])

    def _last_message_at(self) -> str:
        """The state's time if it equals the newest message's or is barely later; else the newest message's."""
        last = self.actual.last_message_at
        earliest = sortable(self.newest["sk"]["S"]) if self.newest else last
        later_by = from_timestamp(last) - from_timestamp(earliest)
        return last if earliest <= last and later_by <= _TICKS_TOGETHER else earliest


def check_conversation(reader: Reader, group_uuid: str, *, scanned: Iterable[Key]) -> Result:
    """Read the conversation, and compare it with its expected items.

    `scanned` are keys of rows that the index may lack. Raises StoreUnavailable, WriteConflict, DatabaseUnavailable.
    """
    reading = reader.conversation(group_uuid, scanned=scanned)
    findings = findings_of(reading)
    return findings, _next_step(reader, reading) if any(finding.repairable for finding in findings) else None


def _next_step(reader: Reader, reading: Reading) -> Repair | None:
    table = reader.table
    if reading.state is None:
        return _migration(reader, reading)
    expected = Expected(reading, reading.state)
    if any(expected.differences.values()):
        return partial(_rewrite, table, expected)
    if expected.surplus:
        return partial(_remove, table, expected.surplus)
    if expected.only_late:
        new = [Message.from_item(expected.messages.late[index]) for index in (0, -1)]
        return partial(SequenceNumbers(table).update, reading.group_uuid, new)
    return partial(_renumber, reader, reading)


def _migration(reader: Reader, reading: Reading) -> Repair | None:
    """The next step of a migration: remove the older rows of members, or call the API's migration.

    None if the name of a member is unknown. The API's migration removes older rows too, but at most 90.
    """
    rows = sorted(reading.rows, key=lambda row: row["sk"]["S"])
    named = {text(row, "user_uuid") for row in rows} | reading.messages.senders.keys()
    unnamed = [user for user in reading.members if user not in named]
    users = [*reader.users(unnamed).values()] if unnamed else [InboxRow.from_item(rows[0]).other]
    if not users:
        return None
    newest = {row["pk"]["S"]: row for row in rows}
    if older := [row for row in rows if row is not newest[row["pk"]["S"]]]:
        return partial(_remove, reader.table, older)
    return partial(migrate_conversation, reader.table, reading.group_uuid, requesting_user=users[0])


def _rewrite(table: Table, expected: Expected) -> None:
    """Write the state and both rows in one transaction, if nobody wrote to the conversation meanwhile."""

    def writes(state: Conversation) -> list[Write]:
        rows = (upsert_row(row, KeyTaken) for row in expected.rows_in(state))
        return [update_state(expected.actual, state), *rows]

    write_rows(table, replace(expected.state, version=expected.actual.version + 1), writes)


def _remove(table: Table, rows: Iterable[Item]) -> None:
    """Remove these rows if they are unchanged. The API moves rows only to free keys, so it never reuses them."""
    write_all(table, (rewrite(row, None) for row in rows))


def _renumber(reader: Reader, reading: Reading) -> None:
    messages = enumerate(reader.messages(reading.group_uuid, reading.item), start=1)
    numbers = ((item, whole(item, "seq"), seq) for seq, item in messages)
    write_all(reader.table, (set_seq(wire_key(item), old_seq=old, seq=seq) for item, old, seq in numbers if old != seq))


def findings_of(reading: Reading) -> list[Finding]:
    """The differences of a conversation. The check of the item reports a malformed state."""
    if state := reading.state:
        return list(Expected(reading, state).findings())
    return list(_findings_without_state(reading)) if reading.item is None else []


def _findings_without_state(reading: Reading) -> Iterator[Finding]:
    messages, rows, members = reading.messages, reading.rows, reading.members
    count = f"{len(messages.seqs)} messages"
    if not rows:
        if messages.seqs:
            detail = f"no row, {count}, sent by {', '.join(sorted(messages.senders))}"
            yield Finding.of(Code.STATE_MISSING, *messages.senders.values(), detail=detail)
    elif len(members) != 2:
        yield Finding.of(Code.STATE_MISSING, *rows, detail=f"the rows name {len(members)} users")
    elif not messages.seqs and any(whole(row, "seq") for row in rows):
        yield Finding.of(Code.STATE_MISSING, *rows, detail="no message: the rows may hold the only content")
    else:
        yield Finding.of(Code.NOT_MIGRATED, *rows, detail=count, repairable=all(map(readable, rows)))
        if non_members := [item for sender, item in messages.senders.items() if sender not in members]:
            yield Finding.of(Code.SENDER_NOT_MEMBER, *non_members)


def _differences(actual: Item, expected: Item, path: str = "") -> Iterator[str]:
    """The names of the attributes that differ, with the values of numbers."""
    for name, right in expected.items():
        value = actual.get(name, {})
        if "M" in right:
            yield from _differences(value["M"], right["M"], f"{path}{name}.")
        elif "SS" in right and set(value.get("SS", ())) == set(right["SS"]):
            continue  # DynamoDB returns a set in any order
        elif value != right:
            yield f"{path}{name} is {value.get('N')}, not {right['N']}" if "N" in right else f"{path}{name}"


def _is_sequence(seqs: array[int], count: int) -> bool:
    """Whether the `count` numbers that are not zero are 1 to `count`, each once."""
    seen = bytearray(count + 1)
    for seq in seqs:
        if 0 < seq <= count:
            seen[seq] = 1
    return sum(seen) == count


def _count_read(seqs: array[int], read_seq: int) -> int:
    """How many messages a position covers. A message without a number counts like the one before it."""
    count = last = 0
    for seq in seqs:
        last = seq or last
        count += last <= read_seq
    return count
