"""The transactions of the write path: which items a message brings, and what each refused condition means.

Patterns C (the message) and D (both inbox rows) in one transaction each: `start_writes` for the first message
between two users, `append_writes` for every other. `receipt_write` joins either where the client sent a key.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib.ddb.errors import AlreadySent, StoreError
from lib.ddb.items import (
    EXPIRES_AT,
    Conversation,
    InboxRow,
    Item,
    Message,
    PairGuard,
    Receipt,
    conversation_key,
    inbox_row_key,
    members_attribute,
)
from lib.ddb.table import ABSENT, Write, delete, put

RECEIPT_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The key under which a message is to be sent once, and a hash of what was asked for under it."""

    key: str
    request_hash: str


class StateChanged(StoreError):
    """Another write came first; `item` is the conversation's current state, empty if it has none."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item


class PairTaken(StoreError):
    """The pair talks already, in `group_uuid`."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.group_uuid: str = item["group_uuid"]["S"]


class KeyTaken(StoreError):
    """An item with this timestamp is there already: the next microsecond is tried."""

    def __init__(self, item: Item) -> None:
        super().__init__()


def start_writes(state: Conversation, message: Message) -> list[Write]:
    """The first message between two users: guard, state, message, both inbox rows (5 items)."""
    first, second = state.members
    guard = PairGuard(user_uuids=(first, second), group_uuid=state.group_uuid)
    return [
        put(guard.to_item(), PairTaken),
        put(state.to_item(), KeyTaken),
        put(message.to_item(), KeyTaken),
        *(put(row.to_item(), KeyTaken) for row in _rows(state, message)),
    ]


def append_writes(before: Conversation, after: Conversation, message: Message) -> list[Write]:
    """A message in an existing conversation: state, message, both inbox rows moved (6 items).

    A sort key cannot be updated, so a row moves by a Delete and a Put.
    """
    return [
        _advance(before, after),
        put(message.to_item(), KeyTaken),
        *(delete(inbox_row_key(uuid, before.last_message_at)) for uuid in after.members),
        *(put(row.to_item(), KeyTaken) for row in _rows(after, message)),
    ]


def receipt_write(idempotency: Idempotency, answer: Message, *, now: int) -> Write:
    """The receipt of a send, unless there is one whose time is not over; `now` in epoch seconds.

    It belongs at the head of the transaction: once sent, a message's other writes are refused as well, and the first
    refusal is the one that counts.
    """
    receipt = Receipt(idempotency.key, idempotency.request_hash, answer, expires_at=now + RECEIPT_SECONDS)
    put_receipt = {
        "Item": receipt.to_item(),
        "ConditionExpression": f"{ABSENT} OR {EXPIRES_AT} <= :now",
        "ExpressionAttributeValues": {":now": {"N": str(now)}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    return Write({"Put": put_receipt}, lambda item: AlreadySent(Receipt.from_item(item)))


def read_writes(before: Conversation, after: Conversation, *, owner_uuid: str) -> list[Write]:
    """A member's position moves: state and their inbox row, which stays where it is (2 items)."""
    row = {
        "Key": inbox_row_key(owner_uuid, after.last_message_at),
        "ConditionExpression": "message_group_uuid = :group",  # an Update would make a row of a missing one
        "UpdateExpression": "SET read_seq = :read_seq",
        "ExpressionAttributeValues": {
            ":group": {"S": after.group_uuid},
            ":read_seq": {"N": str(after.members[owner_uuid].read_seq)},
        },
    }
    return [_advance(before, after), Write({"Update": row}, lambda _: StoreError("a member has no inbox row"))]


def _advance(before: Conversation, after: Conversation) -> Write:
    update = {
        "Key": conversation_key(after.group_uuid),
        # The time as well: a table that was made anew may be at the same version, with its rows elsewhere.
        "ConditionExpression": "version = :version_known AND last_message_at = :at_known",
        "UpdateExpression": (
            "SET seq = :seq, version = :version, last_message_at = :last_message_at, members = :members"
        ),
        "ExpressionAttributeValues": {
            ":version_known": {"N": str(before.version)},
            ":at_known": {"S": before.last_message_at},
            ":seq": {"N": str(after.seq)},
            ":version": {"N": str(after.version)},
            ":last_message_at": {"S": after.last_message_at},
            ":members": members_attribute(after.members),
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    return Write({"Update": update}, StateChanged)


def _rows(state: Conversation, message: Message) -> list[InboxRow]:
    """Each member's inbox row after this message, showing the other member."""
    first, second = state.members
    return [
        InboxRow(
            owner_uuid=owner,
            last_message_at=message.created_at,
            group_uuid=state.group_uuid,
            text=message.text,
            other=state.members[other].user,
            seq=state.seq,
            read_seq=state.members[owner].read_seq,
            sender_uuid=message.sender.uuid,
        )
        for owner, other in ((first, second), (second, first))
    ]
