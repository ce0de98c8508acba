"""Migration of a conversation that an older backend wrote: its state is rebuilt from its inbox rows and messages.

Such a conversation has rows in the index and messages in its partition, but no state, no pair guard and no `seq`. The
first request that needs its state migrates it. Every step can be repeated: the messages get their numbers first,
always the same ones; one conditional transaction then writes the state and both rows. No old data is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from lib.clock import from_timestamp, sortable, tick_after, to_timestamp
from lib.ddb import keys
from lib.ddb.errors import StoreError, WriteConflict
from lib.ddb.items import (
    Conversation,
    InboxRow,
    Item,
    Member,
    Message,
    PairGuard,
    conversation_key,
    message_key,
    parse_all,
    parse_message,
)
from lib.ddb.schema import MESSAGE_GROUP_INDEX
from lib.ddb.table import ABSENT, WRITE_SECONDS, Table, Write, delete, put
from lib.ddb.transactions import inbox_rows
from lib.deadline import tries
from lib.users.directory import User

_WRITES_PER_TRANSACTION = 100


class _AlreadyMigrated(StoreError):
    """Another process has written the conversation's state."""


class _PairHasAnother(StoreError):
    """The pair's guard names another conversation; this one is migrated beside it."""

    def __init__(self, guard: Item) -> None:
        super().__init__()
        self.group_uuid: str = guard["group_uuid"]["S"]


class _RowInTheWay(StoreError):
    """A member has another conversation's row at the same instant."""


@dataclass(slots=True)
class _OldData:
    """What the rows and messages of an old conversation tell."""

    rows: list[InboxRow]
    users: dict[str, User]
    last_sent: dict[str, int] = field(default_factory=dict)
    seq: int = 0
    read_seq: int = 0
    first_at: str | None = None
    last: Message | None = None


def migrate_conversation(
    table: Table, group_uuid: str, *, requesting_user: User, unread_from: str | None = None
) -> Conversation | None:
    """Migrate a conversation and return its state; None if there is no such conversation.

    `requesting_user` supplies a name that the old data may lack: that of a member who wrote nothing and whose row is
    lost. All messages count as read. Those from the sort key `unread_from` on count as read by their senders only.
    Raises WriteConflict, StoreUnavailable.
    """
    members = {uuid for row in indexed_rows(table, group_uuid) for uuid in (row.owner_uuid, row.other.uuid)}
    rows = [row for uuid in sorted(members) for row in _rows_of_member(table, uuid, group_uuid)]
    if not rows:
        return None
    users = {requesting_user.uuid: requesting_user, **{row.other.uuid: row.other for row in rows}}
    old = _OldData(rows, users)
    try:
        _number_messages(table, group_uuid, old, unread_from)
        if len(members) != 2 or not members <= old.users.keys():
            return None
        return _write_state(table, _new_state(group_uuid, members, old), old)
    except _AlreadyMigrated:
        item = table.get(conversation_key(group_uuid))
        return Conversation.from_item(item, group_uuid=group_uuid) if item else None


def old_groups(table: Table, *, user_uuid: str) -> dict[str, str]:
    """A user's conversations that are not migrated: other user's uuid → uuid of the newest conversation with them.

    Reads the whole inbox, because no key tells old rows from new ones.
    """
    items = table.partition(keys.inbox_pk(user_uuid), FilterExpression="attribute_not_exists(seq)")
    rows = parse_all(items, InboxRow.from_item)
    return {row.other.uuid: row.group_uuid for row in rows}  # oldest first: the newest stays


def indexed_rows(table: Table, group_uuid: str) -> Iterator[InboxRow]:
    """A conversation's inbox rows by the index, which lags behind the table."""
    return parse_all(indexed(table, group_uuid), InboxRow.from_item)


def indexed(table: Table, group_uuid: str) -> Iterator[Item]:
    """The items that the index has of a conversation."""
    return table.all(
        IndexName=MESSAGE_GROUP_INDEX,
        KeyConditionExpression="message_group_uuid = :group",
        ExpressionAttributeValues={":group": {"S": group_uuid}},
    )


def _rows_of_member(table: Table, user_uuid: str, group_uuid: str) -> Iterator[InboxRow]:
    """The conversation's rows in a member's inbox, from the table: the migration replaces these rows."""
    items = table.partition(
        keys.inbox_pk(user_uuid), FilterExpression="message_group_uuid = :group", values={":group": {"S": group_uuid}}
    )
    return parse_all(items, InboxRow.from_item)


def _number_messages(table: Table, group_uuid: str, old: _OldData, unread_from: str | None) -> None:
    """Give each message its number, in the order of the sort keys, and collect in `old` what the messages tell.

    Two processes that migrate at once give the same numbers.
    """
    items = table.partition(keys.message_pk(group_uuid))
    messages = filter(None, (parse_message(item, group_uuid=group_uuid) for item in items))
    while batch := list(islice(messages, _WRITES_PER_TRANSACTION)):
        numbered = list(enumerate(batch, start=old.seq + 1))
        if missing := [_set_seq(message, seq) for seq, message in numbered if message.seq is None]:
            if table.get(conversation_key(group_uuid)):
                raise _AlreadyMigrated  # and these messages may be newer than its state
            table.transact(missing)
        for old.seq, old.last in numbered:
            old.first_at = old.first_at or old.last.created_at
            old.users[old.last.sender.uuid] = old.last.sender
            old.last_sent[old.last.sender.uuid] = old.seq
            if unread_from is None or old.last.created_at < unread_from:
                old.read_seq = old.seq


def _write_state(table: Table, state: Conversation, old: _OldData) -> Conversation:
    for _ in tries(WRITE_SECONDS):
        try:
            table.transact(_writes(state, old))
        except _PairHasAnother as another:
            state = replace(state, pair_group_uuid=another.group_uuid)
        except _RowInTheWay:
            state = replace(state, last_message_at=tick_after(state.last_message_at))
        else:
            return state
    raise WriteConflict


def _set_seq(message: Message, seq: int) -> Write:
    """Set a number unconditionally: every process that migrates sets the same one."""
    return Write(
        {
            "Update": {
                "Key": message_key(message.group_uuid, message.created_at),
                "UpdateExpression": "SET seq = :seq",
                "ExpressionAttributeValues": {":seq": {"N": str(seq)}},
            }
        }
    )


def _new_state(group_uuid: str, members: set[str], old: _OldData) -> Conversation:
    last_at = old.last.created_at if old.last else max(row.last_message_at for row in old.rows)
    return Conversation(
        group_uuid=group_uuid,
        members={
            uuid: Member(old.users[uuid], max(old.read_seq, old.last_sent.get(uuid, 0))) for uuid in sorted(members)
        },
        last_message_at=sortable(last_at),
        seq=old.seq,
        version=1,
        created_at=to_timestamp(from_timestamp(old.first_at or last_at)),
    )


def _writes(state: Conversation, old: _OldData) -> list[Write]:
    newest_row = max(old.rows, key=lambda row: row.last_message_at)
    text = old.last.text if old.last else newest_row.text
    sender_uuid = old.last.sender.uuid if old.last else None
    old_keys = {(row.owner_uuid, row.last_message_at): row.key() for row in old.rows}
    writes = [put(state.to_item(), lambda _: _AlreadyMigrated())]
    if state.pair_group_uuid is None:
        writes.append(_put_guard(state))
    for row in inbox_rows(state, text=text, sender_uuid=sender_uuid):
        if old_keys.pop((row.owner_uuid, row.last_message_at), None):
            writes.append(Write({"Put": {"Item": row.to_item()}}))  # the old row has this key: it is replaced
        else:
            writes.append(put(row.to_item(), lambda _: _RowInTheWay()))
    return writes + [delete(key) for key in old_keys.values()]


def _put_guard(state: Conversation) -> Write:
    first, second = state.members
    guard = PairGuard(user_uuids=(first, second), group_uuid=state.group_uuid)
    return put(
        guard.to_item(),
        _PairHasAnother,
        when=f"{ABSENT} OR group_uuid = :group",
        values={":group": {"S": state.group_uuid}},
    )
