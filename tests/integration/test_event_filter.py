"""The filter of the function's mapping beside the function: it drops exactly the records that the function ignores.

ministack does not know `exists` below an attribute that is missing, so the tests evaluate the filter themselves.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from lib.ddb.idempotency import Idempotency
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.table import Table
from services import update_group
from services.update_group import parse_record
from tests.support import streamed
from tests.support.event_patterns import matches
from tests.support.old_data import GROUP, old_conversation, old_message
from tests.support.stores import ANNA, BERT, CARL, TableContents, blocks_of, positions_of, stores_on
from tests.support.streamed import Handler, record, stream_records, streamed_stores_on
from tools.deploy.templates import resources

handle = streamed.handle

[MAPPING] = resources("messaging", "AWS::Lambda::EventSourceMapping").values()
[PATTERN] = [json.loads(rule["Pattern"]) for rule in MAPPING["FilterCriteria"]["Filters"]]


def ids(records: list[dict[str, Any]]) -> list[str]:
    return [record["dynamodb"]["SequenceNumber"] for record in records]


def with_work(records: list[dict[str, Any]]) -> list[str]:
    """The ids of the records that the function updates a conversation for, or reports."""
    parsed = [parse_record(record) for record in records]
    groups = update_group._new_messages(parsed)
    ids = {new.id for news in groups.values() for new in news} | {new.id for new in parsed if new.is_malformed}
    return [new.id for new in parsed if new.id in ids]


@pytest.fixture
def records(dynamodb_client: Any, table: str, contents: TableContents) -> list[dict[str, Any]]:
    """The stream's records of every kind of write, in both modes."""
    inline, lagging = stores_on(dynamodb_client, table)(), streamed_stores_on(dynamodb_client, table)()
    group = inline.send_to_user(sender=ANNA, receiver=BERT, text="first").group_uuid
    inline.send(group_uuid=group, sender=BERT, text="second", idempotency=Idempotency("key", "hash"))
    positions_of(inline).mark_read(user=ANNA, group_uuid=group, seq=2)
    lagging.send(group_uuid=group, sender=ANNA, text="third", idempotency=Idempotency("key", "hash"))
    late = lagging.send(group_uuid=group, sender=ANNA, text="fourth")
    SequenceNumbers(Table(dynamodb_client, table)).update(group, [late])
    for other in (BERT, CARL):
        blocks_of(inline).add(user=ANNA, other=other)
        blocks_of(inline).remove(user=ANNA, other=other)
    contents.put(*old_conversation("2023-01-01T00:00:00.000000+00:00"))
    inline.send(group_uuid=GROUP, sender=ANNA, text="into the old conversation")
    contents.put(old_message("2023-01-03T00:00:00.000000+00:00", ANNA, "by an older backend"))
    return stream_records(dynamodb_client, table)


def test_filter_delivers_the_records_that_the_function_works_on_and_no_other(records: list[dict[str, Any]]) -> None:
    delivered = ids([record for record in records if matches(PATTERN, record)])
    assert delivered == with_work(records)
    assert len(delivered) == 4  # third, fourth, and the two of the older backend
    kinds = {(record["eventName"], record["dynamodb"]["Keys"]["pk"]["S"].partition("#")[0]) for record in records}
    assert {("INSERT", "MSG"), ("MODIFY", "MSG"), ("MODIFY", "CONV"), ("REMOVE", "GRP"), ("INSERT", "IDEM")} <= kinds


def test_dropped_records_change_nothing(
    records: list[dict[str, Any]], handle: Handler, contents: TableContents
) -> None:
    """Not an item, and the streams of no member: only an update of a conversation wakes them."""
    dropped = [record for record in records if not matches(PATTERN, record)]
    before = contents.items()
    assert handle({"Records": dropped}) == {"batchItemFailures": []}
    assert contents.items() == before


def test_message_that_the_function_cannot_read_is_delivered_and_reaches_the_dead_letter_queue() -> None:
    message = old_message("2023-01-03T00:00:00.000000+00:00", ANNA, "text")
    malformed = [record({name: value for name, value in message.items() if name != "message"})]
    malformed.append(deepcopy(malformed[0]))
    del malformed[1]["dynamodb"]["NewImage"]
    assert [matches(PATTERN, record) for record in malformed] == [True, True]
    assert with_work(malformed) == ids(malformed)


def test_exists_without_a_type_would_deliver_every_message(records: list[dict[str, Any]]) -> None:
    pattern = deepcopy(PATTERN)
    pattern["dynamodb"]["NewImage"] = {"seq": [{"exists": False}]}
    messages = [
        record["dynamodb"]
        for record in records
        if record["eventName"] == "INSERT" and record["dynamodb"]["Keys"]["pk"]["S"].startswith("MSG#")
    ]
    delivered = [record["dynamodb"] for record in records if matches(pattern, record)]
    assert delivered == messages
    assert any("seq" in message["NewImage"] for message in delivered)
