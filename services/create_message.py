"""Pattern C, write a message; the store does D, update the group, in the same transaction.

The notes name the two ways in another way as well: C is the first message to a user, D one in an existing group.
"""

from __future__ import annotations

from lib.ddb.items import Message
from lib.ddb.store import MessageStore
from lib.users import User, UserDirectory
from services.errors import Code, Invalid, NotFound, database_errors, store_errors
from services.validation import ToGroup, check_new_message


def create_message(store: MessageStore, users: UserDirectory, *, sender: User, body: object) -> Message:
    """Write what a client sent: `{message, message_group_uuid}` or `{message, handle}`.

    `body` is the parsed JSON, whatever it is. By handle, the pair's conversation gets the message and is started if
    there is none. Returns the message as it was stored. Raises Invalid, NotFound, each with nothing written, and
    Unavailable.
    """
    new = check_new_message(body)
    if isinstance(new, ToGroup):
        with store_errors():
            return store.send(group_uuid=new.group_uuid, sender=sender, text=new.text)
    receiver = _receiver(users, sender, new.handle)
    with store_errors():
        return store.send_to_user(sender=sender, receiver=receiver, text=new.text)


def _receiver(users: UserDirectory, sender: User, handle: str) -> User:
    with database_errors():
        receiver = users.by_handle(handle)
    if receiver is None:
        raise NotFound(Code.RECEIVER_NOT_FOUND)
    if receiver.uuid == sender.uuid:
        raise Invalid(Code.RECEIVER_IS_SENDER)
    return receiver
