"""Pattern D in stream mode, for a batch of stream records: one update for each conversation with new messages.

A record comes from Lambda or from the stream worker, and it may come more than once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.ddb import keys
from lib.ddb.errors import ConversationNotFound
from lib.ddb.items import Item, Message, parse_message
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.logs import log


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One change of an item. `event` is INSERT, MODIFY or REMOVE; `item` is the item after the change.

    If `is_malformed`, only the `id` is known.
    """

    id: str
    event: str = ""
    pk: str = ""
    item: Item = field(default_factory=dict)
    is_malformed: bool = False


def parse_record(record: dict[str, Any]) -> StreamRecord:
    """A record as Lambda and GetRecords deliver it. Raises ValueError if it has no sequence number to report it by."""
    match record:
        case {"dynamodb": {"SequenceNumber": str(number)} as change}:
            pass
        case _:
            raise ValueError("a record of the stream has no sequence number")
    match record.get("eventName"), change.get("Keys"), change.get("NewImage"):
        case "INSERT" | "MODIFY" | "REMOVE" as event, {"pk": {"S": str(pk)}}, image:
            return StreamRecord(number, event, pk, image if isinstance(image, dict) else {})
    return StreamRecord(number, is_malformed=True)


def update_groups(sequence_numbers: SequenceNumbers, records: Sequence[StreamRecord]) -> list[str]:
    """Update the conversations of new messages; return the ids of the records that the stream must deliver again.

    These are the malformed records, the failed ones, and the later ones of the same conversations. Ignores messages
    with a `seq` and changes of other items.
    """
    failed = {record.id for record in records if record.is_malformed}
    for record_id in failed:
        log("stream_record_malformed", level=logging.ERROR, record_id=record_id)
    for group_uuid, group_records in _new_messages(records).items():
        failed.update(_update(sequence_numbers, group_uuid, group_records))
    return [record.id for record in records if record.id in failed]


def _new_messages(records: Sequence[StreamRecord]) -> dict[str, list[StreamRecord]]:
    groups: dict[str, list[StreamRecord]] = {}
    for record in records:
        if record.event == "INSERT" and keys.kind(record.pk) is keys.Kind.MESSAGE and "seq" not in record.item:
            groups.setdefault(keys.message_group(record.pk), []).append(record)
    return groups


def _update(sequence_numbers: SequenceNumbers, group_uuid: str, records: Sequence[StreamRecord]) -> list[str]:
    messages: list[Message] = []
    for record in records:
        message = parse_message(record.item)
        if message is None:
            log("message_malformed", level=logging.ERROR, group_uuid=group_uuid, record_id=record.id)
            break
        messages.append(message)
    try:
        count = sequence_numbers.update(group_uuid, messages) if messages else 0
    except Exception as error:  # a failure in one conversation must not stop the others
        if isinstance(error, ConversationNotFound) and len(messages) > 1:
            return _update_singly(sequence_numbers, group_uuid, records)  # one sender may not be a member
        log("group_update_failed", level=logging.ERROR, error=error, group_uuid=group_uuid, messages=len(messages))
        return [record.id for record in records]
    log("group_updated", group_uuid=group_uuid, messages=len(messages), numbered=count)
    return [record.id for record in records[len(messages) :]]


def _update_singly(sequence_numbers: SequenceNumbers, group_uuid: str, records: Sequence[StreamRecord]) -> list[str]:
    for index, record in enumerate(records):
        if _update(sequence_numbers, group_uuid, [record]):
            return [failed.id for failed in records[index:]]
    return []
