"""The check of a message uuid that several messages of one conversation have, and the removal of copies."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from lib.ddb.items import message_key
from tools.doctor.findings import Code, Finding, Result
from tools.doctor.reading import Reader
from tools.doctor.rewrite import rewrite, write_all
from tools.doctor.shapes import text


def check_twins(reader: Reader, group_uuid: str, message_uuid: str, sort_keys: Iterable[str]) -> Result:
    """Read the messages with these sort keys, and find those that still have the uuid.

    The repair keeps the first one. It removes the others with the same text and sender. Raises StoreUnavailable,
    WriteConflict.
    """
    items = reader.items_at_once([message_key(group_uuid, sort_key) for sort_key in sort_keys])
    twins = [item for item in items if item and text(item, "message_uuid") == message_uuid]
    if len(twins) < 2:
        return [], None
    first, *others = twins
    copies = [item for item in others if all(item.get(name) == first.get(name) for name in ("message", "user_uuid"))]
    finding = Finding.of(Code.MESSAGE_TWINS, *twins, detail=f"the uuid {message_uuid}", repairable=bool(copies))
    return [finding], partial(write_all, reader.table, [rewrite(copy, None) for copy in copies]) if copies else None
