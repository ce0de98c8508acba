"""Pattern C: write a message. In inline mode its transaction also does pattern D, the update of both inbox rows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256
from math import ceil

from lib.clock import now
from lib.ddb.idempotency import DuplicateRequest, Idempotency, Receipt
from lib.ddb.items import Message
from lib.ddb.store import MessageStore
from lib.ddb.transactions import refusal_by_block
from lib.postgres.errors import DatabaseUnavailable
from lib.users.accounts import Account, Senders, User
from lib.users.directory import UserDirectory
from services.errors import Code, Conflict, Invalid, NotAccepted, NotFound, RateLimited, as_service_errors
from services.validation import ToGroup, ToUser, check_idempotency_key, check_new_message


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A stored message; `replayed` if an earlier request with the same Idempotency-Key stored it."""

    message: Message
    replayed: bool = False


def create_message(
    store: MessageStore,
    users: UserDirectory,
    *,
    sender: User,
    body: object,
    idempotency_key: str | None = None,
    first_contacts_per_day: int | None = None,
) -> SentMessage:
    """Write the message of a request body: `{message, message_group_uuid}` or `{message, handle}`.

    `body` is the parsed JSON, of any type. `idempotency_key` is the header of that name: repeating a request with the
    same key within 24 hours writes the message once (draft-ietf-httpapi-idempotency-key-header). A message to a handle
    goes to the conversation of the two users; their first message starts it. The receiver must have a row in Postgres,
    and accept the message. A sender may start `first_contacts_per_day` conversations; with None, any number.
    Raises Invalid, NotFound, NotAccepted, RateLimited and Conflict with nothing written, and Unavailable.
    """
    new_message = check_new_message(body)
    key = check_idempotency_key(idempotency_key)
    idempotency = None if key is None else Idempotency(key, _request_hash(new_message))
    try:
        return SentMessage(_send(store, users, sender, new_message, idempotency, first_contacts_per_day))
    except DuplicateRequest as error:
        return _replay(error.receipt, sender, new_message)
    except (NotFound, NotAccepted, RateLimited):
        # Since the first request, the receiver or a limit may have changed. The stored response is still right.
        with as_service_errors():
            receipt = store.receipt(user=sender, key=idempotency.key) if idempotency else None
        if receipt is None:
            raise
        return _replay(receipt, sender, new_message)


@as_service_errors()
def _send(
    store: MessageStore,
    users: UserDirectory,
    sender: User,
    new_message: ToGroup | ToUser,
    idempotency: Idempotency | None,
    first_contacts_per_day: int | None,
) -> Message:
    if isinstance(new_message, ToGroup):
        _require_receiver(store, users, sender, new_message.group_uuid)
        return store.send(
            group_uuid=new_message.group_uuid, sender=sender, text=new_message.text, idempotency=idempotency
        )
    receiver = users.account_by_handle(new_message.handle)
    if receiver is None:
        raise NotFound(Code.RECEIVER_NOT_FOUND)
    if receiver.user.uuid == sender.uuid:
        raise Invalid(Code.RECEIVER_IS_SENDER)
    _require_acceptance(store, sender, receiver, Senders.EVERYBODY, Senders.KNOWN)

    def before_first() -> None:
        _require_acceptance(store, sender, receiver, Senders.EVERYBODY)
        if first_contacts_per_day is not None:
            _count_first_contact(users, sender, first_contacts_per_day)

    return store.send_to_user(
        sender=sender,
        receiver=receiver.user,
        text=new_message.text,
        idempotency=idempotency,
        before_first=before_first,
    )


def _require_receiver(store: MessageStore, users: UserDirectory, sender: User, group_uuid: str) -> None:
    """Raise NotFound if the other member has no row in Postgres, NotAccepted if they accept no messages.

    If Postgres is unavailable, the message passes: it needs only the table.
    """
    for uuid in store.conversations.cached(group_uuid=group_uuid, user=sender).members.keys() - {sender.uuid}:
        try:
            receiver = users.account("uuid", uuid)
        except DatabaseUnavailable:
            return
        if receiver is None:
            raise NotFound(Code.RECEIVER_NOT_FOUND)
        _require_acceptance(store, sender, receiver, Senders.EVERYBODY, Senders.KNOWN)


def _require_acceptance(store: MessageStore, sender: User, receiver: Account, *choices: Senders) -> None:
    """Raise an error unless the receiver has made one of these choices.

    The error is ReceiverBlocked if the sender blocks the receiver, else ReceiverUnavailable.
    """
    if receiver.accepts_messages_from not in choices:
        raise refusal_by_block(store.conversations.blockers(sender, receiver.user), sender.uuid)


def _count_first_contact(users: UserDirectory, sender: User, limit: int) -> None:
    if not users.count_first_contact(sender.uuid, limit=limit):
        midnight = datetime.combine(now().date() + timedelta(days=1), time(), UTC)
        seconds = ceil((midnight - now()).total_seconds())
        raise RateLimited(Code.RATE_LIMITED, limit=limit, retry_after=max(1, seconds))


def _request_hash(new_message: ToGroup | ToUser) -> str:
    return sha256(json.dumps(asdict(new_message), sort_keys=True).encode()).hexdigest()


def _replay(receipt: Receipt, sender: User, new_message: ToGroup | ToUser) -> SentMessage:
    if receipt.request_hash != _request_hash(new_message):
        raise Conflict(Code.IDEMPOTENCY_KEY_REUSED)
    return SentMessage(replace(receipt.message, sender=sender), replayed=True)  # with today's names
