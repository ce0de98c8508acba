"""Mending one conversation, or one item: every write is conditional, and none removes a message.

In steps, each of which may be the last before a crash, because the next run goes on from what it left: adopt; set
right the state and both rows; number what was never counted; renumber. The state comes before the numbers of the
messages: from then on it counts right, so its positions of read count in the new numbers, and what is sent meanwhile
gets a number that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from lib.clock import tick_after
from lib.ddb.errors import ConversationNotFound, StoreError
from lib.ddb.items import Conversation, InboxRow, Item, conversation_key, wire_key
from lib.ddb.keys import Kind
from lib.ddb.migration import migrate_conversation
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.table import ABSENT, Table, Write
from lib.ddb.transactions import set_seq, unchanged, update_state, upsert_row
from lib.users.directory import User
from tools.doctor.diagnosis import Diagnosis
from tools.doctor.findings import Code, Finding
from tools.doctor.reading import Reader, Reading
from tools.doctor.shapes import GROUP, NAMES, kind_of, parts, text, whole

FindUsers = Callable[[Sequence[str]], Mapping[str, User]]
"""Users by their uuids, those that there are."""

_AT_ONCE = 100
_ROWS_AT_ONCE = 90  # a transaction has the state, the guard and two rows as well
_PUSHES = 8


class Moved(StoreError):
    """Somebody wrote meanwhile: what is to be done has to be looked at again."""

    def __init__(self, item: Item | None = None) -> None:
        super().__init__()


class _RowInTheWay(Moved):
    """A member has another conversation's row at the same instant."""


class Repair:
    """The repairs of one table."""

    def __init__(self, table: Table, reader: Reader, find_users: FindUsers) -> None:
        self._table = table
        self._reader = reader
        self._find_users = find_users

    def item(self, item: Item, code: Code) -> bool:
        """Mend an item by itself; whether it could be done. Raises Moved."""
        if code is Code.NAMES_MISSING:
            user = self._find_users([text(item, "user_uuid") or ""]).get(text(item, "user_uuid") or "")
            missing = [name for name in NAMES if text(item, name) is None]
            if user and missing:
                self._table.transact([_name(item, user, missing)])
            return user is not None
        if code is Code.INDEX_ENTRY_FOREIGN and repeats_its_key(item):
            self._table.transact([_unindex(item)])
            return True
        return False

    def step(self, reading: Reading, findings: Sequence[Finding]) -> bool:
        """Do what comes first of what these findings ask for; whether there was anything.

        Raises Moved, and what the write path raises.
        """
        codes = {finding.code for finding in findings if finding.mendable}
        if reading.state is None:
            return Code.NOT_ADOPTED in codes and self._adopt(reading)
        diagnosis = Diagnosis(reading, reading.state)
        if behind := diagnosis.left_behind:
            self._remove_rows(behind, unless=_is_elsewhere(behind, reading.group_uuid))
        elif diagnosis.expected != diagnosis.state or any(code.startswith(("row_", "read_seq_row")) for code in codes):
            self._rebuild(diagnosis)
        elif diagnosis.only_late and Code.SEQ_MISSING in codes:
            return self._number(reading)
        elif codes & {Code.SEQ_MISSING, Code.SEQ_DOUBLED, Code.SEQ_GAP}:
            self._renumber(reading)
        else:
            return False
        return True

    def _adopt(self, reading: Reading) -> bool:
        newest = {row["pk"]["S"]: row for row in sorted(reading.rows, key=lambda row: row["sk"]["S"])}
        surplus = [row for row in reading.rows if row is not newest[row["pk"]["S"]]]
        if len(surplus) > _ROWS_AT_ONCE:
            self._remove_rows(surplus, unless=no_state(reading.group_uuid))
        named = {text(row, "user_uuid") for row in reading.rows} | reading.messages.senders.keys()
        nameless = [user for user in reading.members if user not in named]
        people = [*self._find_users(nameless).values()] if nameless else [InboxRow.from_item(reading.rows[0]).other]
        return (
            bool(people)
            and migrate_conversation(self._table, reading.group_uuid, requesting_user=people[0]) is not None
        )

    def _number(self, reading: Reading) -> bool:
        first, last = reading.messages.first_late, reading.messages.last_late
        try:
            return bool(first and last and SequenceNumbers(self._table).update(reading.group_uuid, [first, last]))
        except ConversationNotFound:
            return False

    def _rebuild(self, diagnosis: Diagnosis) -> None:
        """The state, if it is wrong, and both rows, in one transaction; many surplus rows go before."""
        before, after = diagnosis.state, diagnosis.expected
        for _ in range(_PUSHES):
            rows = diagnosis.rows(after)
            kept = [row.key() for row in rows]
            surplus = [row for row in diagnosis.reading.rows if wire_key(row) not in kept]
            if len(surplus) > _ROWS_AT_ONCE:
                self._remove_rows(surplus, unless=_check(before))
                surplus = []
            try:
                self._table.transact([_set_right(before, after), *map(_put_row, rows), *map(_remove_row, surplus)])
            except _RowInTheWay:
                after = replace(after, last_message_at=tick_after(after.last_message_at))
            else:
                return
        raise Moved

    def _remove_rows(self, rows: Sequence[Item], *, unless: Write) -> None:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            self._table.transact([unless, *map(_remove_row, rows[start : start + _ROWS_AT_ONCE])])

    def _renumber(self, reading: Reading) -> None:
        numbered = enumerate(self._reader.counted(reading.group_uuid, reading.item), start=1)
        wrong = ((item, seq) for seq, item in numbered if whole(item, "seq") != seq)
        while batch := list(islice(wrong, _AT_ONCE)):
            writes = [set_seq(wire_key(item), old_seq=whole(item, "seq"), seq=seq) for item, seq in batch]
            self._table.transact([replace(write, on_failure=Moved) for write in writes])


def repeats_its_key(item: Item) -> bool:
    """Whether an item's `message_group_uuid` says what its key says as well."""
    return kind_of(item) in (Kind.MESSAGE, Kind.STATE) and parts(item) == [text(item, GROUP)]


def no_state(group_uuid: str) -> Write:
    return Write({"ConditionCheck": {"Key": conversation_key(group_uuid), "ConditionExpression": ABSENT}}, Moved)


def _is_elsewhere(rows: Sequence[Item], group_uuid: str) -> Write:
    """Whether a conversation's rows belong to none of these places, which are earlier ones: it never comes back."""
    check = {
        "Key": conversation_key(group_uuid),
        "ConditionExpression": "last_message_at > :latest",
        "ExpressionAttributeValues": {":latest": {"S": max(row["sk"]["S"] for row in rows)}},
    }
    return Write({"ConditionCheck": check}, Moved)


def _check(state: Conversation) -> Write:
    return replace(unchanged(state), on_failure=Moved)


def _set_right(before: Conversation, after: Conversation) -> Write:
    if after == before:
        return _check(before)
    return replace(update_state(before, replace(after, version=before.version + 1)), on_failure=Moved)


def _put_row(row: InboxRow) -> Write:
    return replace(upsert_row(row), on_failure=_RowInTheWay)


def _remove_row(row: Item) -> Write:
    delete = {
        "Key": wire_key(row),
        "ConditionExpression": f"{ABSENT} OR {GROUP} = :group",
        "ExpressionAttributeValues": {":group": row[GROUP]},
    }
    return Write({"Delete": delete}, Moved)


def _name(item: Item, user: User, missing: Sequence[str]) -> Write:
    named = {"user_handle": user.handle, "user_display_name": user.display_name}
    update = {
        "Key": wire_key(item),
        "ConditionExpression": " AND ".join(
            ["user_uuid = :user", *(f"NOT attribute_type({name}, :text)" for name in missing)]
        ),
        "UpdateExpression": f"SET {', '.join(f'{name} = :{name}' for name in missing)}",
        "ExpressionAttributeValues": {
            ":user": {"S": user.uuid},
            ":text": {"S": "S"},
            **{f":{name}": {"S": named[name]} for name in missing},
        },
    }
    return Write({"Update": update}, Moved)


def _unindex(item: Item) -> Write:
    update = {
        "Key": wire_key(item),
        "ConditionExpression": f"{GROUP} = :known",
        "UpdateExpression": f"REMOVE {GROUP}",
        "ExpressionAttributeValues": {":known": item[GROUP]},
    }
    return Write({"Update": update}, Moved)
