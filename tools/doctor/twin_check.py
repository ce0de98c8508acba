"""The check of a message uuid that several messages of one conversation have, and the removal of copies."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from lib.ddb.items import Item, message_key
from tools.doctor.findings import Code, Finding, Result
from tools.doctor.reading import Reader
from tools.doctor.rewrite import rewrite, write_all
from tools.doctor.shapes import text


def check_twins(reader: Reader, group_uuid: str, message_uuid: str, sort_keys: Iterable[str]) -> Result:
    """Read the messages with these sort keys, and find those that still have the uuid.

    The repair keeps the first of those with the same text and sender, and removes its copies. Raises StoreUnavailable,
    WriteConflict.
    """
    items = reader.items_at_once([message_key(group_uuid, sort_key) for sort_key in sort_keys])
    twins = [item for item in items if item and text(item, "message_uuid") == message_uuid]
    if len(twins) < 2:
        return [], None
    kept = {_content(item): item for item in reversed(twins)}
    copies = [item for item in twins if kept[_content(item)] is not item]
    finding = Finding.of(Code.MESSAGE_TWINS, *twins, detail=f"the uuid {message_uuid}", repairable=bool(copies))
    return [finding], partial(write_all, reader.table, [rewrite(copy, None) for copy in copies]) if copies else None


def _content(item: Item) -> str:
    return repr([item.get(name) for name in ("message", "user_uuid")])
