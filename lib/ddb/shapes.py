"""Items that have not the shape of what should be where they are: passed over, so that one hides no other.

They come from other writers of the table. The doctor names them (docs/doctor.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from lib.clock import sortable
from lib.ddb.items import Item, Message
from lib.logs import log

T = TypeVar("T")


def readable(item: Item, *, group_uuid: str) -> Message | None:
    """The message that an item holds, None if it has not the shape of one, or a sort key that is no time."""
    try:
        message = Message.from_item(item, group_uuid=group_uuid)
        sortable(message.created_at)
    except (KeyError, ValueError, OverflowError):
        return None
    return message


def shaped(items: Iterable[Item], read: Callable[[Item], T]) -> Iterator[T]:
    """What the items hold, read by one of the conversions of lib/ddb/items.py; what it cannot read is logged."""
    for item in items:
        try:
            held = read(item)
        except (KeyError, ValueError):
            log("item_malformed", level=logging.WARNING, pk=item["pk"]["S"])
        else:
            yield held
