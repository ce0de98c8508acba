"""Idempotency: a send with an Idempotency-Key writes a send receipt, which holds the response to every repetition."""

from __future__ import annotations

from dataclasses import dataclass

from lib.ddb import keys
from lib.ddb.errors import WriteRefused
from lib.ddb.items import EXPIRES_AT, Item, Message
from lib.ddb.table import ABSENT, Write, put

RECEIPT_SECONDS = 24 * 60 * 60


class DuplicateRequest(WriteRefused):
    """The sender has used this Idempotency-Key within the last 24 hours; nothing was written now."""

    def __init__(self, receipt: Receipt) -> None:
        super().__init__()
        self.receipt = receipt


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An Idempotency-Key, and a hash of the request that came with it."""

    key: str
    request_hash: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A send receipt: the message is the response to every repetition, `expires_at` is in epoch seconds.

    The item has the message in the attribute `answer`.
    """

    key: str
    request_hash: str
    message: Message
    expires_at: int

    def to_item(self) -> Item:
        return {
            **receipt_key(self.message.sender.uuid, self.key),
            "request_hash": {"S": self.request_hash},
            "answer": {"M": self.message.to_item()},
            EXPIRES_AT: {"N": str(self.expires_at)},
        }

    @classmethod
    def from_item(cls, item: Item) -> Receipt:
        return cls(
            key=keys.idempotency_key(item["pk"]["S"]),
            request_hash=item["request_hash"]["S"],
            message=Message.from_item(item["answer"]["M"]),
            expires_at=int(item[EXPIRES_AT]["N"]),
        )


def receipt_key(user_uuid: str, key: str) -> Item:
    return {"pk": {"S": keys.receipt_pk(user_uuid, key)}, "sk": {"S": keys.STATE}}


def receipt_write(idempotency: Idempotency, message: Message, *, now: int) -> Write:
    """Put the receipt of a send, unless there is one that has not expired; `now` in epoch seconds.

    It must be the first write of the transaction: for a repeated request several conditions fail, and the first one
    decides the error.
    """
    receipt = Receipt(idempotency.key, idempotency.request_hash, message, expires_at=now + RECEIPT_SECONDS)
    return put(
        receipt.to_item(),
        lambda item: DuplicateRequest(Receipt.from_item(item)),
        when=f"{ABSENT} OR {EXPIRES_AT} <= :now",
        values={":now": {"N": str(now)}},
    )
