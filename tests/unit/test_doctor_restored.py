"""A restored table may have only some writes of the last transactions: the doctor repairs each such state."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

from lib.ddb.items import Item, Key, key_of
from tests.support.doctor_fixtures import run_doctor
from tests.support.stores import ANNA, BERT, SteppingClock, TableContents, stores_on


def by_key(contents: TableContents) -> dict[Key, Item]:
    return {key_of(item): item for item in contents.items()}


def test_doctor_repairs_a_table_with_any_part_of_a_send(dynamodb_client: Any, table: str) -> None:
    contents = TableContents(dynamodb_client, table)
    store = stores_on(dynamodb_client, table)(clock=SteppingClock())
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    before = by_key(contents)
    message = store.send(group_uuid=group, sender=BERT, text="two")
    after = by_key(contents)
    written = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    assert len(written) == 6
    for part in chain.from_iterable(combinations(written, size) for size in range(7)):
        items = {**before, **{key: after.get(key) for key in part}}
        contents.clear()
        contents.put(*(item for item in items.values() if item))
        has_message = any(message.created_at == sk and pk.startswith("MSG#") for pk, sk in part)
        run_doctor(dynamodb_client, table, fix=True)
        assert run_doctor(dynamodb_client, table).codes == [], part
        texts = ["one", "two"] if has_message else ["one"]
        assert [(message.text, message.seq) for message in contents.messages(group)] == list(
            zip(texts, (1, 2), strict=False)
        )
        assert contents.conversation(group).seq == len(texts)
