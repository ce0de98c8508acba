"""Pattern C: write a message. In inline mode its transaction also does pattern D, the update of both inbox rows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256

from lib.ddb.idempotency import DuplicateRequest, Idempotency, Receipt
from lib.ddb.items import Message
from lib.ddb.store import MessageStore
from lib.postgres.errors import DatabaseUnavailable
from lib.users.directory import User, UserDirectory
from services.errors import Code, Conflict, Invalid, NotFound, as_service_errors
from services.validation import ToGroup, ToUser, check_idempotency_key, check_new_message


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A stored message; `replayed` if an earlier request with the same Idempotency-Key stored it."""

    message: Message
    replayed: bool = False


def create_message(
    store: MessageStore, users: UserDirectory, *, sender: User, body: object, idempotency_key: str | None = None
) -> SentMessage:
    """Write the message of a request body: `{message, message_group_uuid}` or `{message, handle}`.

    `body` is the parsed JSON, of any type. `idempotency_key` is the header of that name: repeating a request with the
    same key within 24 hours writes the message once (draft-ietf-httpapi-idempotency-key-header). A message to a handle
    goes to the conversation of the two users; their first message starts it. The receiver must have a row in Postgres.
    Raises Invalid, NotFound and Conflict with nothing written, and Unavailable.
    """
    new_message = check_new_message(body)
    key = check_idempotency_key(idempotency_key)
    idempotency = None if key is None else Idempotency(key, _request_hash(new_message))
    try:
        return SentMessage(_send(store, users, sender, new_message, idempotency))
    except DuplicateRequest as error:
        return _replay(error.receipt, sender, new_message)
    except NotFound:
        # The receiver may have a new handle since the first request. The stored response is still right.
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
) -> Message:
    if isinstance(new_message, ToGroup):
        _require_receiver(store, users, sender, new_message.group_uuid)
        return store.send(
            group_uuid=new_message.group_uuid, sender=sender, text=new_message.text, idempotency=idempotency
        )
    receiver = users.by_handle(new_message.handle)
    if receiver is None:
        raise NotFound(Code.RECEIVER_NOT_FOUND)
    if receiver.uuid == sender.uuid:
        raise Invalid(Code.RECEIVER_IS_SENDER)
    return store.send_to_user(sender=sender, receiver=receiver, text=new_message.text, idempotency=idempotency)


def _require_receiver(store: MessageStore, users: UserDirectory, sender: User, group_uuid: str) -> None:
    """Raise NotFound if the other member has no row in Postgres.

    If Postgres is unavailable, the receiver counts as existing: the message needs only the table.
    """
    for uuid in store.conversations.cached(group_uuid=group_uuid, user=sender).members.keys() - {sender.uuid}:
        try:
            receiver = users.account("uuid", uuid)
        except DatabaseUnavailable:
            return
        if receiver is None:
            raise NotFound(Code.RECEIVER_NOT_FOUND)


def _request_hash(new_message: ToGroup | ToUser) -> str:
    return sha256(json.dumps(asdict(new_message), sort_keys=True).encode()).hexdigest()


def _replay(receipt: Receipt, sender: User, new_message: ToGroup | ToUser) -> SentMessage:
    if receipt.request_hash != _request_hash(new_message):
        raise Conflict(Code.IDEMPOTENCY_KEY_REUSED)
    return SentMessage(replace(receipt.message, sender=sender), replayed=True)  # with today's names
