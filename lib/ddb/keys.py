"""Partition and sort keys. This module alone knows their formats (docs/data-model.md)."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum

from lib.clock import normalized

STATE = "STATE"
"""Sort key of items that are alone in their partition."""

LATE_UPDATES = "late"
"""Sort key of a user's late updates, above the sort keys of the user's inbox rows."""

# ISO 8601, in the current format or in one of an older backend. Clients may write more forms: check_created_at.
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII)
_FIRST_DAY, _LAST_DAY, _LAST_SECOND = "0001-01-02", "9999-12-31", "9999-12-31T23:59:59"

_MESSAGE = "MSG#"
_INBOX = "GRP#"
_CONVERSATION = "CONV#"
_PAIR = "PAIR#"
_RECEIPT = "IDEM#"
_BLOCK = "BLOCK#"


class Kind(StrEnum):
    """The kinds of items, with short names of those in docs/data-model.md."""

    MESSAGE = "message"
    ROW = "inbox row"
    LATE_UPDATES = "late updates"
    STATE = "conversation"
    GUARD = "pair guard"
    RECEIPT = "receipt"
    BLOCK = "block"


_KINDS = {
    _MESSAGE: Kind.MESSAGE,
    _INBOX: Kind.ROW,
    _CONVERSATION: Kind.STATE,
    _PAIR: Kind.GUARD,
    _RECEIPT: Kind.RECEIPT,
    _BLOCK: Kind.BLOCK,
}


def kind(pk: str, sk: str = "") -> Kind | None:
    """The kind of a partition's items, or of one item; None if the partition is not this system's."""
    if sk == LATE_UPDATES and pk.startswith(_INBOX):
        return Kind.LATE_UPDATES
    return next((kind for prefix, kind in _KINDS.items() if pk.startswith(prefix)), None)


def is_time(sk: str) -> bool:
    """Whether a sort key is that of a message or an inbox row: a time, with room for later keys.

    On the last day, only keys in the current format are: such keys follow those of the day before. An item with another
    sort key is neither: lists, migration, sequence numbers and the doctor leave it out.
    """
    # The separators of the current format: most keys have it, and the pattern takes as long as the rest of the check.
    is_current = sk[4:20:3] == "--T::." and sk[26:] == "+00:00"
    if not (is_current or _TIME.fullmatch(sk)) or not _FIRST_DAY <= sk < _LAST_SECOND:
        return False
    try:
        datetime.fromisoformat(sk)
        return sk < _LAST_DAY or normalized(sk) == sk
    except (ValueError, OverflowError):
        return False


def message_pk(group_uuid: str) -> str:
    """Partition of a conversation's messages, `MSG#5ae290ed-…`; their sort key is created_at."""
    return _MESSAGE + group_uuid


def message_group(pk: str) -> str:
    """The conversation of a partition of messages; the inverse of `message_pk`."""
    return pk.removeprefix(_MESSAGE)


def inbox_pk(user_uuid: str) -> str:
    """Partition of a user's inbox rows, `GRP#76d2f241-…`; their sort key is last_message_at."""
    return _INBOX + user_uuid


def inbox_owner(pk: str) -> str:
    """The owner of an inbox's partition; the inverse of `inbox_pk`."""
    return pk.removeprefix(_INBOX)


def conversation_pk(group_uuid: str) -> str:
    """Partition of a conversation's state, `CONV#5ae290ed-…`; its sort key is STATE."""
    return _CONVERSATION + group_uuid


def pair_pk(user_uuid: str, other_user_uuid: str) -> str:
    """Partition of the pair guard of two users, `PAIR#<lower>#<higher>`; its sort key is STATE.

    The order of the two arguments makes no difference.
    """
    lower, higher = sorted((user_uuid, other_user_uuid))
    return f"{_PAIR}{lower}#{higher}"


def receipt_pk(user_uuid: str, key: str) -> str:
    """Partition of the send receipt of an Idempotency-Key, `IDEM#<user>#<key>`; its sort key is STATE."""
    return f"{_RECEIPT}{user_uuid}#{key}"


def idempotency_key(pk: str) -> str:
    """The Idempotency-Key of a receipt; the inverse of `receipt_pk`."""
    return pk.split("#", 2)[2]


def block_pk(user_uuid: str) -> str:
    """Partition of the blocks of a user, `BLOCK#76d2f241-…`; their sort key is the uuid of the blocked user."""
    return _BLOCK + user_uuid


def block_owner(pk: str) -> str:
    """The user who blocks; the inverse of `block_pk`."""
    return pk.removeprefix(_BLOCK)
