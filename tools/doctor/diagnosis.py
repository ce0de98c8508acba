"""What a conversation should be like, and how it differs from that. Pure: knows no table.

The findings are the differences between what is there and what should be; the repair writes what should be.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cached_property

from lib.clock import from_timestamp, sortable
from lib.ddb import keys
from lib.ddb.items import Conversation, InboxRow, Item, conversation_key, message_key
from lib.ddb.transactions import inbox_rows
from tools.doctor.findings import Code, Finding, found
from tools.doctor.reading import Reading
from tools.doctor.shapes import NAMES, readable, text, whole

_PUSHED_ON = timedelta(seconds=1)
"""So far rows of other conversations in the way can have moved a state's time, a microsecond each."""


class Diagnosis:
    """Of a conversation that has a state."""

    def __init__(self, reading: Reading, state: Conversation) -> None:
        self.reading = reading
        self.state = state

    @cached_property
    def _tally(self) -> tuple[int, int, int, int]:
        """Of the messages' numbers: how many are missing, doubled, and above the count; and the highest below that."""
        seqs = self.reading.messages.seqs
        seen = bytearray(len(seqs) + 1)
        missing = doubled = beyond = highest = 0
        for seq in seqs:
            if seq == 0:
                missing += 1
            elif 0 < seq <= len(seqs):
                doubled += seen[seq]
                seen[seq] = 1
                highest = max(highest, seq)
            else:
                beyond += 1
        return missing, doubled, beyond, highest

    @property
    def numbering(self) -> Code | None:
        """What is wrong with the numbers: the one thing that explains the rest."""
        missing, doubled, beyond, _ = self._tally
        if missing:
            return Code.SEQ_MISSING
        if doubled:
            return Code.SEQ_DOUBLED
        if beyond:
            return Code.SEQ_GAP
        return None if self.state.seq == len(self.reading.messages.seqs) else Code.STATE_SEQ

    @property
    def only_late(self) -> bool:
        """Whether all is right but messages that were never counted: stream mode, without its function."""
        missing, doubled, beyond, highest = self._tally
        counted = len(self.reading.messages.seqs) - missing
        return missing > 0 and (doubled, beyond, highest) == (0, 0, counted) and self.state.seq == counted

    @cached_property
    def expected(self) -> Conversation:
        """The state as it should be. Where it counts right, its positions of read are taken as they are."""
        state, seqs = self.state, self.reading.messages.seqs
        seq = state.seq if self.only_late else len(seqs)
        members = {}
        for uuid, member in state.members.items():
            read = member.read_seq if seq == state.seq else _read(seqs, member.read_seq)
            members[uuid] = replace(member, read_seq=max(0, min(read, seq)))
        return replace(state, seq=seq, members=members, last_message_at=self._last_message_at())

    @property
    def newest(self) -> Item | None:
        """The message that the rows should show."""
        messages = self.reading.messages
        return messages.newest_numbered if self.only_late else messages.newest

    def rows(self, state: Conversation) -> list[InboxRow]:
        """Both rows as they should be in a state. Where no message tells their text, they keep it."""
        shown: Item = self.newest or max(self.reading.rows, key=lambda row: row["sk"]["S"], default={})
        sender = text(shown, "user_uuid") if self.newest else text(shown, "sender_uuid")
        return inbox_rows(state, text=text(shown, "message") or "", sender_uuid=sender)

    def findings(self) -> Iterator[Finding]:
        """Every difference."""
        yield from self._numbers()
        state, expected, key = self.state, self.expected, conversation_key(self.state.group_uuid)
        if strangers := self.reading.messages.strangers:
            yield found(Code.SENDER_STRANGER, *strangers)
        if state.last_message_at != expected.last_message_at:
            yield found(Code.STATE_TIME, key, detail=f"{state.last_message_at}, not {expected.last_message_at}")
        for uuid, member in state.members.items():
            if not 0 <= member.read_seq <= max(state.seq, expected.seq):
                yield found(Code.READ_SEQ_RANGE, key, detail=f"{member.read_seq} of {state.seq}, of the user {uuid}")
        for row in self.rows(expected):
            yield from self._row(row) if self.reading.settled else self._surplus(row)
        strange = [row for row in self.reading.rows if keys.inbox_owner(row["pk"]["S"]) not in state.members]
        if strange:
            yield found(Code.ROW_STRANGER, *strange)

    def _numbers(self) -> Iterator[Finding]:
        messages, group = self.reading.messages, self.state.group_uuid
        missing, doubled, beyond, _ = self._tally
        counts = f"{len(messages.seqs)} messages, the state counts {self.state.seq}"
        if self.numbering is Code.SEQ_MISSING:
            mendable = not (self.only_late and messages.strangers)
            detail = f"{missing} without a number; {counts}"
            yield found(Code.SEQ_MISSING, *messages.late, detail=detail, mendable=mendable)
        elif self.numbering is Code.STATE_SEQ:
            yield found(Code.STATE_SEQ, conversation_key(group), detail=counts)
        elif self.numbering:
            detail = f"{doubled} doubled, {beyond} above the count; {counts}"
            yield found(self.numbering, message_key(group, messages.newest["sk"]["S"]), detail=detail)  # type: ignore[index]

    def _row(self, row: InboxRow) -> Iterator[Finding]:
        """How the rows of a member differ from the one that they should have."""
        place = row.key()
        there = [item for item in self.reading.rows if item["pk"] == place["pk"]]
        if len(there) != 1:
            yield found(Code.ROW_DOUBLED, *there) if there else found(Code.ROW_MISSING, place)
            return
        item, state, right = there[0], self.state, row.to_item()
        if item["sk"]["S"] not in (state.last_message_at, row.last_message_at):
            yield found(Code.ROW_MISPLACED, item, detail=f"belongs at {row.last_message_at}")
        if self.newest and any(item.get(name) != right.get(name) for name in ("message", "sender_uuid")):
            yield found(Code.ROW_MESSAGE, item)
        if whole(item, "seq") not in (state.seq, row.seq):
            yield found(Code.ROW_NUMBERS, item, detail=f"{whole(item, 'seq')}, not {row.seq}")
        if whole(item, "read_seq") not in (state.members[row.owner_uuid].read_seq, row.read_seq):
            yield found(Code.READ_SEQ_ROW, item, detail=f"{whole(item, 'read_seq')}, not {row.read_seq}")
        if any(name in item and item[name] != right[name] for name in ("user_uuid", *NAMES)):
            yield found(Code.ROW_NAMES, item)

    def _surplus(self, row: InboxRow) -> Iterator[Finding]:
        """The rows of a member besides the right one, which is there."""
        there = [item for item in self.surplus if item["pk"] == row.key()["pk"]]
        if there:
            yield found(Code.ROW_DOUBLED, *there)

    @property
    def surplus(self) -> list[Item]:
        """The rows that are not where the state says."""
        return [row for row in self.reading.rows if row["sk"]["S"] != self.state.last_message_at]

    @property
    def left_behind(self) -> list[Item]:
        """The surplus rows that can go without another look: strangers', and of members who have the right one."""
        at = self.state.last_message_at
        right = {row["pk"]["S"] for row in self.reading.rows if row["sk"]["S"] == at}
        lacking = {keys.inbox_pk(member) for member in self.state.members} - right if self.reading.settled else set()
        return [row for row in self.surplus if row["sk"]["S"] < at and row["pk"]["S"] not in lacking]

    def _last_message_at(self) -> str:
        """The state's time, if it is that of the newest message or barely later; else the newest message's."""
        at = self.state.last_message_at
        try:
            earliest = sortable(self.newest["sk"]["S"]) if self.newest else at
            pushed = from_timestamp(at) - from_timestamp(earliest)
        except (ValueError, OverflowError):  # the key is no time, or later than any other could be
            return at
        return at if earliest <= at and pushed <= _PUSHED_ON else earliest


def without_state(reading: Reading) -> Iterator[Finding]:
    """What is wrong with a conversation that has no state."""
    messages, rows, members = reading.messages, reading.rows, reading.members
    if not rows:
        if messages.sample:
            detail = f"{len(messages.seqs)} messages, sent by {', '.join(sorted(messages.senders))}"
            yield found(Code.MESSAGES_ORPHANED, *messages.sample, detail=detail)
    elif len(members) != 2:
        yield found(Code.MEMBERS_UNCLEAR, *rows, detail=f"{len(members)} users")
    elif not messages.seqs and any(whole(row, "seq") for row in rows):
        yield found(Code.ROW_ORPHANED, *rows)
    else:
        detail = f"{len(messages.seqs)} messages"
        yield found(Code.NOT_ADOPTED, *rows, detail=detail, mendable=all(map(readable, rows)))
        if strangers := [item for sender, item in messages.senders.items() if sender not in members]:
            yield found(Code.SENDER_STRANGER, *strangers)


def _read(seqs: array[int], read_seq: int) -> int:
    """How many messages were read up to a position. One without a number was, if the one before it was."""
    count = last = 0
    for seq in seqs:
        last = seq or last
        count += last <= read_seq
    return count
