"""Migration: a conversation of an older backend gets its state, its numbers and its pair guard, at its first use.

The older backend wrote inbox rows and messages alone. The migration first numbers the messages; a repetition gives the
same numbers. Then one transaction writes the state, the pair guard and both rows, on condition that there is no state
yet. No old data is lost. If the pair guard has blocks, they go to the state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, islice

from lib.clock import from_timestamp, sortable, to_timestamp
from lib.ddb import keys
from lib.ddb.errors import WriteConflict, WriteRefused
from lib.ddb.inbox_rows import rows_of_member, write_rows
from lib.ddb.items import (
    Conversation,
    InboxRow,
    Item,
    Member,
    Message,
    PairGuard,
    blockers_in,
    conversation_key,
    message_key,
    parse_all,
    parse_message,
)
from lib.ddb.schema import MESSAGE_GROUP_INDEX
from lib.ddb.table import ABSENT, MAX_WRITES, WRITE_SECONDS, Table, Write, put
from lib.ddb.transactions import SAME_BLOCKS, PairTaken, replace_rows
from lib.deadline import tries
from lib.users.accounts import User


class _AlreadyMigrated(WriteRefused):
    """Another process has written the conversation's state."""


class _BlocksChanged(WriteRefused):
    """The pair guard has other blocks than the new state; `item` is the guard, or empty."""


@dataclass(slots=True)
class _OldData:
    """The content of an old conversation.

    `seq` is the number of messages, `read_seq` the number of those that count as read by both members. `last_sent` has
    the `seq` of each user's last message.
    """

    rows: list[InboxRow]
    users: dict[str, User]
    last_sent: dict[str, int] = field(default_factory=dict)
    seq: int = 0
    read_seq: int = 0
    first: Message | None = None
    last: Message | None = None


def migrate_conversation(
    table: Table, group_uuid: str, *, requesting_user: User, unread_from: str | None = None
) -> Conversation | None:
    """Migrate a conversation and return its state; None if there is no such conversation.

    `requesting_user` has the names of a member whose names the old data may lack: the member wrote nothing, and the
    other member's row is lost. All messages count as read. With `unread_from`, the messages from this sort key on count
    as read only by their senders.
    Raises WriteConflict, StoreUnavailable.
    """
    rows = old_rows(table, group_uuid)
    if not rows:
        return None
    members = {uuid for row in rows for uuid in (row.owner_uuid, row.other.uuid)}
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
    """A user's conversations before their migration: other user's uuid → uuid of the newest conversation with them.

    Reads the whole inbox, because no key tells old rows from new ones.
    """
    old = "attribute_not_exists(seq) AND attribute_not_exists(late_updates)"
    items = table.partition(keys.inbox_pk(user_uuid), FilterExpression=old)
    rows = parse_all(items, InboxRow.from_item)
    return {row.other.uuid: row.group_uuid for row in rows}  # oldest first, so the newest overwrites the others


def old_rows(table: Table, group_uuid: str) -> list[InboxRow]:
    """A conversation's inbox rows, from the inboxes of its members. The index, which lags, names the members."""
    owners = {keys.inbox_owner(item["pk"]["S"]) for item in indexed(table, group_uuid)}
    rows = [row for uuid in sorted(owners) for row in rows_of_member(table, uuid, group_uuid)]
    others = {row.other.uuid for row in rows} - owners
    return rows + [row for uuid in sorted(others) for row in rows_of_member(table, uuid, group_uuid)]


def indexed(table: Table, group_uuid: str) -> Iterator[Item]:
    """The keys of a conversation's inbox rows in the index, which may hold more of each row."""
    items = table.index_partition(MESSAGE_GROUP_INDEX, {"message_group_uuid": {"S": group_uuid}})
    return (item for item in items if keys.kind(item["pk"]["S"]) is keys.Kind.ROW)


def check_index(table: Table) -> None:
    """Raise StoreUnavailable unless the table and its index respond."""
    next(indexed(table, "no group"), None)


def _number_messages(table: Table, group_uuid: str, old: _OldData, unread_from: str | None) -> None:
    """Number the messages in the order of the sort keys, and add them to `old`.

    Two processes that migrate at once give the same numbers.
    """
    items = table.partition(keys.message_pk(group_uuid))
    messages = filter(None, map(parse_message, items))
    while batch := list(islice(messages, MAX_WRITES)):
        numbered = list(zip(batch, count(old.seq + 1)))
        if writes := [_set_seq(message, seq) for message, seq in numbered if message.seq is None]:
            if table.get(conversation_key(group_uuid)):
                raise _AlreadyMigrated  # these messages may be newer than the state
            table.transact(writes)
        for message, seq in numbered:
            old.first, old.last, old.seq = old.first or message, message, seq
            old.users[message.sender.uuid] = message.sender
            old.last_sent[message.sender.uuid] = seq
            if unread_from is None or message.created_at < unread_from:
                old.read_seq = seq


def _write_state(table: Table, state: Conversation, old: _OldData) -> Conversation:
    owners = {row.owner_uuid for row in old.rows if sortable(row.last_message_at) == state.last_message_at}
    write = partial(write_rows, table, writes=partial(_writes, old), had_rows=state.members.keys() <= owners)
    for _ in tries(WRITE_SECONDS):
        try:
            return write(state)
        except PairTaken as taken:
            state = replace(state.with_blocks(()), pair_group_uuid=taken.group_uuid)
        except _BlocksChanged as changed:
            state = state.with_blocks(blockers_in(changed.item))
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
            uuid: Member(old.users[uuid], read_seq=max(old.read_seq, last_seq), last_seq=last_seq)
            for uuid in sorted(members)
            for last_seq in [old.last_sent.get(uuid, 0)]
        },
        last_message_at=sortable(last_at),
        seq=old.seq,
        version=1,
        created_at=to_timestamp(from_timestamp(old.first.created_at if old.first else last_at)),
    )


def _writes(old: _OldData, state: Conversation) -> list[Write]:
    writes = [put(state.to_item(), _AlreadyMigrated), *replace_rows(state, old.rows, last=old.last)]
    if state.pair_group_uuid is None:
        first, second = state.members
        guard = PairGuard(user_uuids=(first, second), group_uuid=state.group_uuid)
        values: Item
        if state.blockers:  # the state takes the blocks over from the guard
            when, values = SAME_BLOCKS, {":blocks": {"SS": sorted(state.blockers)}}
        else:
            when, values = f"{ABSENT} OR group_uuid = :group", {":group": {"S": state.group_uuid}}
        writes.append(put(guard.to_item(), _guard_refusal, when=when, values=values))
    return writes


def _guard_refusal(guard: Item) -> WriteRefused:
    return PairTaken(guard) if "group_uuid" in guard else _BlocksChanged(guard)
