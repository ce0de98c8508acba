"""Adoption: the state of a conversation that an older backend wrote, rebuilt from its inbox rows and messages.

Such a conversation has rows in the index and messages under its partition, but no state, no pair guard and no
`seq`. It is adopted at its first use. Every step can be repeated: the messages get their numbers first, always
the same ones, and the state comes last, conditionally, together with both rows. Nothing of the old data is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from lib.clock import from_timestamp, sortable, tick_after, to_timestamp
from lib.ddb import keys
from lib.ddb.errors import Contended, StoreError
from lib.ddb.items import Conversation, InboxRow, Item, Member, Message, PairGuard, conversation_key
from lib.ddb.schema import MESSAGE_GROUP_INDEX
from lib.ddb.shapes import readable, shaped
from lib.ddb.table import ABSENT, WRITE_SECONDS, Table, Write, delete, put
from lib.ddb.transactions import rows_of
from lib.deadline import tries
from lib.users.directory import User

_WRITES_PER_TRANSACTION = 100


class _Adopted(StoreError):
    """Somebody else adopted the conversation meanwhile."""


class _PairHasAnother(StoreError):
    """The pair's guard names another conversation; this one is adopted beside it."""

    def __init__(self, guard: Item) -> None:
        super().__init__()
        self.group_uuid: str = guard["group_uuid"]["S"]


class _RowInTheWay(StoreError):
    """A member has another conversation's row at the same instant."""


@dataclass(slots=True)
class _Findings:
    """What the old data tells."""

    rows: list[InboxRow]
    users: dict[str, User] = field(default_factory=dict)
    last_sent: dict[str, int] = field(default_factory=dict)
    seq: int = 0
    read_seq: int = 0
    first_at: str | None = None
    last: Message | None = None


def adopt(table: Table, group_uuid: str, *, witness: User, unread_from: str | None = None) -> Conversation | None:
    """Adopt a conversation; None if there is nothing to adopt.

    `witness` is the user who asks: of a member who never wrote and whose row the other lost, only they know the
    name. All messages count as read, but those with the sort key `unread_from` and later ones by their senders alone.
    Raises Contended, StoreUnavailable.
    """
    members = {uuid for row in inbox_rows(table, group_uuid) for uuid in (row.owner_uuid, row.other.uuid)}
    found = _Findings(rows=[row for uuid in sorted(members) for row in _rows_of_member(table, uuid, group_uuid)])
    if not found.rows:
        return None
    found.users[witness.uuid] = witness
    found.users.update((row.other.uuid, row.other) for row in found.rows)
    try:
        _number(table, group_uuid, found, unread_from)
        if len(members) != 2 or not members <= found.users.keys():
            return None
        return _written(table, _state(group_uuid, [found.users[uuid] for uuid in sorted(members)], found), found)
    except _Adopted:
        item = table.get(conversation_key(group_uuid))
        return Conversation.from_item(item, group_uuid=group_uuid) if item else None


def old_groups(table: Table, *, user_uuid: str) -> dict[str, str]:
    """A user's conversations that an older backend wrote and nobody has adopted: other user → the newest with them.

    Reads the whole inbox, because no key tells old rows from new ones.
    """
    items = table.partition(keys.inbox_pk(user_uuid), FilterExpression="attribute_not_exists(seq)")
    rows = shaped(items, InboxRow.from_item)
    return {row.other.uuid: row.group_uuid for row in rows}  # oldest first: the newest stays


def inbox_rows(table: Table, group_uuid: str) -> Iterator[InboxRow]:
    """A conversation's inbox rows by the index, which lags behind."""
    return shaped(indexed(table, group_uuid), InboxRow.from_item)


def indexed(table: Table, group_uuid: str) -> Iterator[Item]:
    """What the index has of a conversation."""
    return table.all(
        IndexName=MESSAGE_GROUP_INDEX,
        KeyConditionExpression="message_group_uuid = :group",
        ExpressionAttributeValues={":group": {"S": group_uuid}},
    )


def _rows_of_member(table: Table, user_uuid: str, group_uuid: str) -> Iterator[InboxRow]:
    """The conversation's rows in a member's inbox: what is replaced is read from the table, not from the index."""
    items = table.partition(
        keys.inbox_pk(user_uuid), FilterExpression="message_group_uuid = :group", values={":group": {"S": group_uuid}}
    )
    return shaped(items, InboxRow.from_item)


def _number(table: Table, group_uuid: str, found: _Findings, unread_from: str | None) -> None:
    """Give each message its number, in the order of the sort keys, and note what the messages tell.

    Whoever adopts gives all the same numbers, so that one who is overtaken does no harm.
    """
    items = table.partition(keys.message_pk(group_uuid))
    messages = filter(None, (readable(item, group_uuid=group_uuid) for item in items))
    while batch := list(islice(messages, _WRITES_PER_TRANSACTION)):
        numbered = list(enumerate(batch, start=found.seq + 1))
        if missing := [_set_seq(message, seq) for seq, message in numbered if message.seq is None]:
            if table.get(conversation_key(group_uuid)):
                raise _Adopted  # and among these may be messages that were sent since
            table.transact(missing)
        for found.seq, found.last in numbered:
            found.first_at = found.first_at or found.last.created_at
            found.users[found.last.sender.uuid] = found.last.sender
            found.last_sent[found.last.sender.uuid] = found.seq
            if unread_from is None or found.last.created_at < unread_from:
                found.read_seq = found.seq


def _written(table: Table, state: Conversation, found: _Findings) -> Conversation:
    for _ in tries(WRITE_SECONDS):
        try:
            table.transact(_writes(state, found))
        except _PairHasAnother as another:
            state = replace(state, pair_group_uuid=another.group_uuid)
        except _RowInTheWay:
            state = replace(state, last_message_at=tick_after(state.last_message_at))
        else:
            return state
    raise Contended


def _set_seq(message: Message, seq: int) -> Write:
    item = message.to_item()
    return Write(
        {
            "Update": {
                "Key": {"pk": item["pk"], "sk": item["sk"]},
                "UpdateExpression": "SET seq = :seq",
                "ExpressionAttributeValues": {":seq": {"N": str(seq)}},
            }
        }
    )


def _state(group_uuid: str, users: Sequence[User], found: _Findings) -> Conversation:
    at = found.last.created_at if found.last else max(row.last_message_at for row in found.rows)
    return Conversation(
        group_uuid=group_uuid,
        members={user.uuid: Member(user, max(found.read_seq, found.last_sent.get(user.uuid, 0))) for user in users},
        last_message_at=sortable(at),
        seq=found.seq,
        version=1,
        created_at=to_timestamp(from_timestamp(found.first_at or at)),
    )


def _guard(guard: PairGuard) -> Write:
    """The guard, unless it names another conversation."""
    put_guard = {
        "Item": guard.to_item(),
        "ConditionExpression": f"{ABSENT} OR group_uuid = :group",
        "ExpressionAttributeValues": {":group": {"S": guard.group_uuid}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    return Write({"Put": put_guard}, _PairHasAnother)


def _writes(state: Conversation, found: _Findings) -> list[Write]:
    newest_row = max(found.rows, key=lambda row: row.last_message_at)
    text = found.last.text if found.last else newest_row.text
    sender_uuid = found.last.sender.uuid if found.last else None
    old_keys = {(row.owner_uuid, row.last_message_at): row.key() for row in found.rows}
    writes = [put(state.to_item(), lambda _: _Adopted())]
    if state.pair_group_uuid is None:
        first, second = state.members
        writes.append(_guard(PairGuard(user_uuids=(first, second), group_uuid=state.group_uuid)))
    for row in rows_of(state, text=text, sender_uuid=sender_uuid):
        if old_keys.pop((row.owner_uuid, row.last_message_at), None):
            writes.append(Write({"Put": {"Item": row.to_item()}}))  # the row stands where it should: renewed in place
        else:
            writes.append(put(row.to_item(), lambda _: _RowInTheWay()))
    return writes + [delete(key) for key in old_keys.values()]
