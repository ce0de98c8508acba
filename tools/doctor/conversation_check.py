"""The check of one conversation: its expected state, rows and message numbers, the differences, and the rewrite.

Messages and members are the truth. A repair has several steps; after a crash the next run continues. It rewrites the
state before the numbers of the messages: then read positions count in the new numbers, and a message that is sent
meanwhile gets the right number.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice

from lib.clock import from_timestamp, sortable, tick_after
from lib.ddb.errors import WriteRefused
from lib.ddb.items import Conversation, InboxRow, Item, Key, Message, conversation_key, key_of, wire_key
from lib.ddb.migration import migrate_conversation
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.table import Write, check
from lib.ddb.transactions import inbox_rows, set_seq, upsert_row
from lib.users.directory import User
from tools.doctor.findings import Code, Finding
from tools.doctor.reading import Reader, Reading
from tools.doctor.rewrite import is_absent, rewrite
from tools.doctor.shapes import NAMES, readable, text, whole

FindUsers = Callable[[Sequence[str]], Mapping[str, User]]
"""The users in Postgres with these uuids."""

_WRITES_PER_TRANSACTION = 100
_ROWS_PER_TRANSACTION = 90  # a migration writes the state, the guard and two rows as well
_TICKS = 8
_TICKS_TOGETHER = timedelta(seconds=1)
"""The most by which rows of other conversations move a state's time, a microsecond each."""


class _RowInTheWay(WriteRefused):
    """A member has another conversation's row with the same sort key."""


class Expected:
    """The expected items of a conversation that has a state, and the differences. Pure: knows no table."""

    def __init__(self, reading: Reading, actual: Conversation) -> None:
        self._reading = reading
        self.messages = messages = reading.messages
        self.actual = actual
        seqs = messages.seqs
        numbered = len(seqs) - seqs.count(0)
        in_sequence = _is_sequence(seqs, numbered)
        self.only_late = in_sequence and numbered < len(seqs) and actual.seq == numbered
        """Whether the numbers are right except for messages of stream mode without a number."""
        self.is_numbered = in_sequence and numbered == len(seqs)
        self.newest = messages.newest_numbered if self.only_late else messages.newest
        """The message for the rows to show."""
        seq = numbered if self.only_late else len(seqs)
        members = {}
        for uuid, member in actual.members.items():
            # If the state's `seq` is right, so are its read positions.
            read_seq = member.read_seq if seq == actual.seq else _count_read(seqs, member.read_seq)
            members[uuid] = replace(member, read_seq=max(0, min(read_seq, seq)))
        self.state = replace(actual, seq=seq, members=members, last_message_at=self._last_message_at())
        self.rows = {key_of(row.key()): row.to_item() for row in self.rows_in(self.state)}
        self.surplus = [row for row in reading.rows if key_of(row) not in self.rows]
        self.non_members = [item for sender, item in messages.senders.items() if sender not in actual.members]

    def rows_in(self, state: Conversation) -> list[InboxRow]:
        """Both rows of a state. Without messages they keep their text."""
        shown: Item = self.newest or max(self._reading.rows, key=lambda row: row["sk"]["S"], default={})
        sender = text(shown, "user_uuid" if self.newest else "sender_uuid")
        return inbox_rows(state, text=text(shown, "message") or "", sender_uuid=sender)

    def state_differences(self) -> list[str]:
        actual, expected = self.actual, self.state
        values = [
            ("`seq`", actual.seq, expected.seq),
            ("`last_message_at`", actual.last_message_at, expected.last_message_at),
            *(
                (f"the read position of {uuid}", member.read_seq, expected.members[uuid].read_seq)
                for uuid, member in actual.members.items()
            ),
        ]
        return [f"{name} is {value}, not {right}" for name, value, right in values if value != right]

    def row_differences(self) -> dict[Key, str]:
        """The key of each missing or different row, with the attributes that differ."""
        if not self._reading.is_consistent:
            return {}
        names = ["user_uuid", *NAMES, "seq", "read_seq", *(["message", "sender_uuid"] if self.newest else [])]
        rows = {key_of(row): row for row in self._reading.rows}
        differences = {}
        for key, right in self.rows.items():
            row = rows.get(key)
            if row is None:
                differences[key] = "missing"
            # The check of the item reports missing names.
            elif wrong := [n for n in names if row.get(n) != right.get(n) and (n in row or n not in NAMES)]:
                differences[key] = f"wrong: {', '.join(wrong)}"
        return differences

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
        if differences := self.state_differences():
            key = conversation_key(self.actual.group_uuid)
            yield Finding.of(Code.CONVERSATION_STATE, key, detail=", ".join(differences))
        for (pk, sk), detail in self.row_differences().items():
            yield Finding.of(Code.INBOX_ROW, {"pk": {"S": pk}, "sk": {"S": sk}}, detail=detail)
        if self.surplus:
            yield Finding.of(Code.INBOX_ROW, *self.surplus, detail="surplus")

    def _last_message_at(self) -> str:
        """The state's time if it equals the newest message's or is barely later; else the newest message's."""
        last = self.actual.last_message_at
        try:
            earliest = sortable(self.newest["sk"]["S"]) if self.newest else last
            later_by = from_timestamp(last) - from_timestamp(earliest)
        except (ValueError, OverflowError):  # the newest message's key is no time
            return last
        return last if earliest <= last and later_by <= _TICKS_TOGETHER else earliest


@dataclass
class ConversationCheck:
    """The check of one conversation. Every method raises StoreUnavailable and WriteConflict."""

    reader: Reader
    find_users: FindUsers
    group_uuid: str
    seen: list[Key]
    """Keys of rows that the index may lack."""

    def findings(self) -> list[Finding]:
        """Read the conversation; return its differences."""
        self.reading = self.reader.conversation(self.group_uuid, seen=self.seen)
        self._findings = findings_of(self.reading)
        return self._findings

    def repair(self) -> bool:
        """Take the next step of the repair; False if there is none.

        Raises WriteRefused if somebody wrote since the read.
        """
        if not any(finding.repairable for finding in self._findings):
            return False
        if self.reading.state is None:
            return self._migrate()
        expected = Expected(self.reading, self.reading.state)
        if expected.state_differences() or expected.row_differences():
            self._rewrite(expected)
        elif expected.surplus:
            self._remove_surplus(expected)
        elif expected.only_late:
            ends = (expected.messages.late[0], expected.messages.late[-1])
            new = [Message.from_item(item, group_uuid=self.group_uuid) for item in ends]
            SequenceNumbers(self.reader.table).update(self.group_uuid, new)
        else:
            self._renumber()
        return True

    def _migrate(self) -> bool:
        rows = sorted(self.reading.rows, key=lambda row: row["sk"]["S"])
        newest = {row["pk"]["S"]: row for row in rows}
        surplus = [row for row in rows if row is not newest[row["pk"]["S"]]]
        if len(surplus) > _ROWS_PER_TRANSACTION:
            self._remove_rows(surplus, when=is_absent(conversation_key(self.group_uuid)))
        named = {text(row, "user_uuid") for row in rows} | self.reading.messages.senders.keys()
        unnamed = [user for user in self.reading.members if user not in named]
        users = [*self.find_users(unnamed).values()] if unnamed else [InboxRow.from_item(rows[0]).other]
        return (
            bool(users)
            and migrate_conversation(self.reader.table, self.group_uuid, requesting_user=users[0]) is not None
        )

    def _rewrite(self, expected: Expected) -> None:
        """Write the state, if it differs, and both rows, in one transaction."""
        before, after = expected.actual, expected.state
        for _ in range(_TICKS):
            new = after if after == before else replace(after, version=before.version + 1)
            rows = [replace(upsert_row(row), on_failure=_RowInTheWay) for row in expected.rows_in(after)]
            try:
                return self.reader.table.transact([rewrite(before.to_item(), new.to_item()), *rows])
            except _RowInTheWay:
                after = replace(after, last_message_at=tick_after(after.last_message_at))
        raise WriteRefused

    def _remove_surplus(self, expected: Expected) -> None:
        """Remove rows other than both members' expected rows.

        A conversation's time never goes back, so rows with earlier keys stay surplus even if a message arrives.
        """
        state = expected.actual
        left_behind = [row for row in expected.surplus if row["sk"]["S"] < state.last_message_at]
        if not left_behind:
            return self._remove_rows(expected.surplus, when=rewrite(state.to_item(), state.to_item()))
        is_later = check(
            conversation_key(state.group_uuid),
            WriteRefused,
            when="last_message_at > :latest",
            values={":latest": {"S": max(row["sk"]["S"] for row in left_behind)}},
        )
        return self._remove_rows(left_behind, when=is_later)

    def _remove_rows(self, rows: Sequence[Item], *, when: Write) -> None:
        for start in range(0, len(rows), _ROWS_PER_TRANSACTION):
            removals = [rewrite(row, None) for row in rows[start : start + _ROWS_PER_TRANSACTION]]
            self.reader.table.transact([when, *removals])

    def _renumber(self) -> None:
        messages = self.reader.counted(self.group_uuid, self.reading.item)
        wrong = ((item, seq) for seq, item in enumerate(messages, start=1) if whole(item, "seq") != seq)
        while batch := list(islice(wrong, _WRITES_PER_TRANSACTION)):
            self.reader.table.transact(
                [set_seq(wire_key(item), old_seq=whole(item, "seq"), seq=seq) for item, seq in batch]
            )


def findings_of(reading: Reading) -> list[Finding]:
    """The differences of a conversation. ItemCheck, not this function, reports a malformed state."""
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
