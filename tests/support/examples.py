"""The example items of the documents, made by the code that writes items."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from lib.clock import from_timestamp
from lib.ddb.idempotency import Idempotency, Receipt
from lib.ddb.items import Block, Conversation, InboxRow, Item, Member, Message, PairGuard, late_updates_key
from lib.ddb.transactions import late_update_writes, start_writes
from lib.users.accounts import User

AUGUSTSZ = User("76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "Augustsz", "Augustsz")
BAYKO = User("3f0c5b8e-92d1-4c47-9a6e-b1d8f7240c35", "bayko", "Bayko")
GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
MESSAGE = Message(
    group_uuid=GROUP,
    created_at="2026-01-02T08:15:00.375877+00:00",
    uuid="0b6f1c52-7a43-4be2-9d18-3f5c8e6a2b71",
    text="Happy new year! 🎆",
    sender=AUGUSTSZ,
    seq=42,
)
STATE = Conversation(
    group_uuid=GROUP,
    members={
        AUGUSTSZ.uuid: Member(AUGUSTSZ, read_seq=42, last_seq=42),
        BAYKO.uuid: Member(BAYKO, read_seq=41, last_seq=40),
    },
    last_message_at=MESSAGE.created_at,
    seq=42,
    version=42,
    created_at="2025-12-29T18:04:11.902416+00:00",
)
GUARD = PairGuard(user_uuids=(AUGUSTSZ.uuid, BAYKO.uuid), group_uuid=GROUP)
FIRST_CONTACT = PairGuard(user_uuids=(AUGUSTSZ.uuid, BAYKO.uuid), blocks=frozenset([AUGUSTSZ.uuid]))
BLOCK = Block(AUGUSTSZ.uuid, BAYKO, created_at="2026-01-02T08:16:21.640318+00:00")
RECEIPT = Receipt("8e03978e-40d5-43dd-bc93-6894a57f9324", "a5f3c6a11b03839d46af9fb43c97c188" * 2, MESSAGE, 1767428100)

IDEMPOTENCY = Idempotency(RECEIPT.key, RECEIPT.request_hash)


def examples() -> list[Item]:
    """The items of docs/data-model.md, in its order."""
    items = [item.to_item() for item in (MESSAGE, *rows(MESSAGE), STATE, GUARD, FIRST_CONTACT, BLOCK, RECEIPT)]
    return [*items[:3], first_late_update(), *items[3:]]


def first_late_update() -> Item:
    """The late updates of Bayko after the first one, 12 seconds after the message."""
    [update] = [
        write.request["Update"]
        for write in late_update_writes(STATE, now=from_timestamp(MESSAGE.created_at) + timedelta(seconds=12))
        if write.request["Update"]["Key"] == late_updates_key(BAYKO.uuid)
    ]
    values = update["ExpressionAttributeValues"]
    return {**update["Key"], "late_updates": values[":one"], "updated_at": values[":now"]}


def rows(message: Message) -> list[InboxRow]:
    """Both members' inbox rows, as the write path makes them."""
    state = replace(STATE, seq=message.seq or 0, last_message_at=message.created_at)
    puts = [write.request["Put"]["Item"] for write in start_writes(state, message)]
    return [InboxRow.from_item(item) for item in puts if "message_group_uuid" in item]


def message(text: str, *, seq: int) -> Message:
    """The example message with another text and number."""
    return replace(MESSAGE, text=text, seq=seq, created_at=f"2026-01-02T08:15:00.{seq:06}+00:00")
