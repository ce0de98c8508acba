"""The transactions of the write path: their writes, with the conditions and the errors if a condition fails.

`start_writes` writes the first message of two users, `append_writes` every other one: the message (pattern C) and both
inbox rows (pattern D). In stream mode a send writes only the message. Later, `number_writes` does D for several
messages at once. `apply_message` is the only code that changes a conversation state for a message.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import datetime

from lib.clock import sortable, to_timestamp
from lib.ddb.errors import ReceiverBlocked, ReceiverUnavailable, StoreError, WriteRefused
from lib.ddb.items import (
    Conversation,
    InboxRow,
    Item,
    Message,
    PairGuard,
    blockers_in,
    blocks_attribute,
    conversation_key,
    inbox_row_key,
    late_updates_key,
    members_attribute,
    message_key,
)
from lib.ddb.table import ABSENT, MAX_WRITES, OnFailure, Write, check, delete, put, update

_MAX_SURPLUS = MAX_WRITES - 10
"""The surplus rows that one transaction deletes, beside its other writes. The doctor removes the others."""

_OWN = "message_group_uuid = :group"
_OWN_OR_ABSENT = f"{ABSENT} OR {_OWN}"
"""Conditions of writes to a row: its place has no row of another conversation."""

SAME_BLOCKS = "attribute_not_exists(group_uuid) AND blocks = :blocks"
"""Condition of a write to a pair guard without a conversation."""


class StateChanged(WriteRefused):
    """Another write came first; `item` is the conversation's current state."""


class LinkedStateChanged(WriteRefused):
    """Another write came first in the conversation that `pair_group_uuid` names, which has the pair's blocks."""


class PairTaken(WriteRefused):
    """Messages by handle go to another conversation of the two users; `item` has its uuid, like their pair guard."""

    @property
    def group_uuid(self) -> str:
        """The uuid of that conversation."""
        return str(self.item["group_uuid"]["S"])


class KeyTaken(WriteRefused):
    """Another item has this sort key; the writer tries the next microsecond."""


class RowChanged(WriteRefused):
    """A member's inbox row is missing or elsewhere, or lacks the conversation's `seq`: `repair_rows` helps."""


class MessageChanged(WriteRefused):
    """A message has a number from another process, or somebody deleted it."""


def apply_message(state: Conversation, message: Message) -> Conversation:
    """The state after a message. Sending marks the conversation as read and updates the sender's name.

    In stream mode a late message may have a lower sort key than the last one. It increases `seq`, but updates no name.
    Its sender's unread messages stay unread: the sender may not have seen the messages above it. The sender's last
    message is unknown then: it may be one of those.
    """
    seq, created_at = state.seq + 1, sortable(message.created_at)
    member = state.members[message.sender.uuid]
    sender = replace(member, user=message.sender, read_seq=seq, last_seq=seq)
    if created_at <= state.last_message_at:
        read_seq = seq if member.read_seq == state.seq else member.read_seq
        sender = replace(member, read_seq=read_seq, last_seq=None)
    return replace(
        state,
        members={**state.members, message.sender.uuid: sender},
        last_message_at=max(state.last_message_at, created_at),
        seq=seq,
        version=state.version + 1,
    )


def refusal_by_block(blockers: Container[str], sender_uuid: str) -> StoreError:
    """The error for a message between two users. `blockers` are the uuids of those who block the other one."""
    return ReceiverBlocked() if sender_uuid in blockers else ReceiverUnavailable()


def start_writes(state: Conversation, message: Message) -> list[Write]:
    """The first message between two users: guard, state, message, both inbox rows (5 items)."""

    def pair_refusal(guard: Item) -> StoreError:
        is_taken = "group_uuid" in guard
        return PairTaken(guard) if is_taken else refusal_by_block(blockers_in(guard), message.sender.uuid)

    first, second = state.members
    guard = PairGuard(user_uuids=(first, second), group_uuid=state.group_uuid)
    return [
        put(guard.to_item(), pair_refusal),
        put(state.to_item(), KeyTaken),
        put(message.to_item(), KeyTaken),
        *(
            put(row.to_item(), KeyTaken)
            for row in inbox_rows(state, text=message.text, sender_uuid=message.sender.uuid, message_uuid=message.uuid)
        ),
    ]


def append_writes(before: Conversation, after: Conversation, message: Message) -> list[Write]:
    """A message in an existing conversation: state, message, both inbox rows moved (6 items)."""
    return [update_state(before, after), put(message.to_item(), KeyTaken), *_row_writes(before, after, message)]


def number_writes(
    before: Conversation, after: Conversation, messages: Sequence[Message], *, last: Message
) -> list[Write]:
    """Give stored messages the next numbers: state, both inbox rows (5 items), and one item for each message.

    `last` is the message that the rows will show. If they show it already, they keep their places.
    """
    return [
        update_state(before, after),
        *(
            set_seq(message_key(message.group_uuid, message.created_at), old_seq=message.seq, seq=seq)
            for seq, message in enumerate(messages, before.seq + 1)
        ),
        *_row_writes(before, after, last),
    ]


def member_writes(before: Conversation, after: Conversation, *, owner_uuid: str) -> list[Write]:
    """Change a member's read position or block: the state and the member's inbox row, in place (2 items)."""
    member = after.members[owner_uuid]
    row = update(
        inbox_row_key(owner_uuid, after.last_message_at),
        {"read_seq": {"N": str(member.read_seq)}, **({"blocks": {"BOOL": True}} if member.blocks else {})},
        RowChanged,
        when=f"{_OWN} AND seq = :seq",
        values={**_group(after.group_uuid), ":seq": {"N": str(after.seq)}},
        removed="" if member.blocks else "blocks",
    )
    return [update_state(before, after), row]


def inbox_rows(state: Conversation, *, text: str, sender_uuid: str | None, message_uuid: str | None) -> list[InboxRow]:
    """Each member's inbox row in this state, with the other member and the last message."""
    first, second = state.members
    return [
        InboxRow(
            owner_uuid=owner,
            last_message_at=state.last_message_at,
            group_uuid=state.group_uuid,
            text=text,
            other=state.members[other].user,
            seq=state.seq,
            read_seq=state.members[owner].read_seq,
            sender_uuid=sender_uuid,
            message_uuid=message_uuid,
            blocks=state.members[owner].blocks,
        )
        for owner, other in ((first, second), (second, first))
    ]


def late_update_writes(state: Conversation, *, now: datetime) -> list[Write]:
    """Count a late update of both members (2 items): feed cursors may be past the rows of this state."""
    return [
        Write(
            {
                "Update": {
                    "Key": late_updates_key(uuid),
                    "UpdateExpression": "ADD late_updates :one SET updated_at = :now",
                    "ExpressionAttributeValues": {":one": {"N": "1"}, ":now": {"S": to_timestamp(now)}},
                }
            }
        )
        for uuid in state.members
    ]


def update_state(before: Conversation, after: Conversation) -> Write:
    """Write the next state, on condition that nobody wrote to the conversation since `before`."""
    changes = {
        "seq": {"N": str(after.seq)},
        "version": {"N": str(after.version)},
        "last_message_at": {"S": after.last_message_at},
        "members": members_attribute(after.members),
        **blocks_attribute(after.blockers),
    }
    return update(
        conversation_key(before.group_uuid),
        changes,
        StateChanged,
        # A recreated table may have the same version, but other rows. So the condition also compares the time.
        when="version = :old_version AND last_message_at = :old_last_message_at",
        values={":old_version": {"N": str(before.version)}, ":old_last_message_at": {"S": before.last_message_at}},
        removed="" if after.blockers else "blocks",
    )


def check_state(state: Conversation) -> Write:
    """Refuse the transaction if somebody wrote to a conversation that it only reads."""
    version = {":version": {"N": str(state.version)}}
    return check(conversation_key(state.group_uuid), LinkedStateChanged, when="version = :version", values=version)


def set_seq(key: Item, *, old_seq: int | None, seq: int) -> Write:
    """Give a message its number, on condition that it still has the old one, or none."""
    changes = {"seq": {"N": str(seq)}}
    if old_seq is None:
        return update(key, changes, MessageChanged, when="attribute_exists(pk) AND attribute_not_exists(seq)")
    return update(key, changes, MessageChanged, when="seq = :old_seq", values={":old_seq": {"N": str(old_seq)}})


def upsert_row(row: InboxRow, on_failure: OnFailure) -> Write:
    """Put a row in its place, on condition that no other conversation's row has this place."""
    return put(row.to_item(), on_failure, when=_OWN_OR_ABSENT, values=_group(row.group_uuid))


def replace_rows(state: Conversation, rows: Sequence[InboxRow], *, last: Message | None) -> list[Write]:
    """Put both rows of a state, and delete those of the conversation's `rows` that are elsewhere.

    The rows show the message `last`; without one, they keep their text.
    """
    shown = last or max(rows, key=lambda row: row.last_message_at, default=None)
    sender_uuid, message_uuid = (last.sender.uuid, last.uuid) if last else (None, None)
    new_rows = inbox_rows(state, text=shown.text if shown else "", sender_uuid=sender_uuid, message_uuid=message_uuid)
    places = [row.key() for row in new_rows]
    surplus = [row.key() for row in rows if row.key() not in places]
    return [
        *(upsert_row(row, KeyTaken) for row in new_rows),
        *(
            delete(key, KeyTaken, when=_OWN_OR_ABSENT, values=_group(state.group_uuid))
            for key in surplus[:_MAX_SURPLUS]
        ),
    ]


def _row_writes(before: Conversation, after: Conversation, last: Message) -> list[Write]:
    """Put both rows at their new place. No write can change a sort key, so a row moves by a Delete and a Put."""
    rows = inbox_rows(after, text=last.text, sender_uuid=last.sender.uuid, message_uuid=last.uuid)
    if after.last_message_at == before.last_message_at:
        return [upsert_row(row, RowChanged) for row in rows]
    places, group = [inbox_row_key(uuid, before.last_message_at) for uuid in after.members], _group(after.group_uuid)
    return [
        *(delete(place, RowChanged, when=_OWN, values=group) for place in places),
        *(put(row.to_item(), KeyTaken) for row in rows),
    ]


def _group(group_uuid: str) -> Item:
    return {":group": {"S": group_uuid}}
