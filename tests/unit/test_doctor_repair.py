"""The table after a repair: read positions, the order of messages, and no loss after a crash between two writes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from lib.clock import tick_after
from lib.ddb import keys
from lib.ddb.errors import WriteRefused
from lib.ddb.items import Item, Message, PairGuard, block_key
from lib.ddb.table import Table
from tests.support.corruptions import OTHER, corruptions, position
from tests.support.doctor_fixtures import People, before, run_doctor, sound_table
from tests.support.old_data import GROUP, TIMES, old_conversation, old_message, old_row
from tests.support.old_table import ITEMS, PEOPLE, group_of, texts
from tests.support.stores import (
    ANNA,
    BERT,
    CARL,
    DORA,
    START,
    NewStore,
    SteppingClock,
    TableContents,
    after_start,
    blocks_of,
)
from tests.support.streamed import streamed_stores_on
from tests.unit.conftest import TABLE
from tools.doctor import rewrite
from tools.doctor.findings import Code

USERS = (ANNA, BERT, CARL)


class Crash(Exception):
    """The process ends here."""


def crash_everywhere(client: Any, contents: TableContents, items: list[Item], **options: Any) -> int:
    """Repair the same table with a crash before each of its transactions, and again; return their number."""
    for transactions in itertools.count():
        contents.clear()
        contents.put(*items)
        remaining = iter(range(transactions))

        def crash_at_last(remaining: Iterator[int] = remaining) -> None:
            if next(remaining, None) is None:
                raise Crash

        try:
            with before(client, "TransactWriteItems", crash_at_last):
                run_doctor(client, TABLE, fix=True, **options)
        except Crash:
            run_doctor(client, TABLE, fix=True, **options)
            assert set(run_doctor(client, TABLE, **options).codes) <= {Code.STATE_MISSING}
            assert texts(contents.items()) == texts(items)
        else:
            return transactions
    raise AssertionError


def test_crash_during_a_renumbering_loses_no_position(
    new_store: NewStore, contents: TableContents, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "MAX_WRITES", 10)
    store = new_store(clock=SteppingClock())
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="0").group_uuid
    for number in range(1, 25):
        store.send(group_uuid=group, sender=ANNA, text=str(number))
    position(BERT, 15)(contents, group)
    removed, doubled = (contents.partition(keys.message_pk(group))[index] for index in (2, 20))
    contents.remove({"pk": removed["pk"], "sk": removed["sk"]})
    contents.put({**doubled, "seq": {"N": "20"}})

    assert crash_everywhere(client, contents, contents.items()) == 4  # state and rows, three times up to ten messages
    contents.check(group, [str(number) for number in range(25) if number != 2])
    read = {uuid: member.read_seq for uuid, member in contents.conversation(group).members.items()}
    assert read == {ANNA.uuid: 24, BERT.uuid: 14}


def test_crash_during_a_migration_loses_nothing(contents: TableContents, client: Any) -> None:
    items = [item for item in ITEMS if any(group_of(number) in str(item) for number in (1, 2, 3))]
    assert crash_everywhere(client, contents, items, people=People(*PEOPLE)) >= 6


def test_old_table_is_migrated_and_nothing_is_lost(contents: TableContents, client: Any) -> None:
    contents.put(*ITEMS)
    people = People(*PEOPLE)
    codes = Counter(run_doctor(client, TABLE, people=people).codes)
    assert codes == {Code.NOT_MIGRATED: 8, Code.ITEM_ATTRIBUTES: 2, Code.STATE_MISSING: 1}

    assert run_doctor(client, TABLE, people=people, fix=True).left == [Code.STATE_MISSING]
    assert run_doctor(client, TABLE, people=people, fix=True).codes == [Code.STATE_MISSING]
    assert texts(contents.items()) == texts(ITEMS)
    anna, bert = PEOPLE[:2]
    guard = contents.partition(keys.pair_pk(anna.uuid, bert.uuid))[0]
    assert guard["group_uuid"]["S"] == group_of(3)
    links = [contents.conversation(group_of(number)).pair_group_uuid for number in (1, 2, 3)]
    assert links == [group_of(3), group_of(3), None]
    assert [row.group_uuid for row in contents.inbox(anna)] == [group_of(number) for number in (2, 1, 3, 4, 6)]


def test_guard_names_the_newest_conversation_after_a_migration(
    new_store: NewStore, contents: TableContents, client: Any
) -> None:
    newer = "ffffffff-55d1-47a0-bc6d-fe2bc2700399"
    contents.put(*old_conversation(TIMES[0]), *old_conversation(TIMES[1], group=newer))
    new_store().conversations.get(group_uuid=GROUP, user=ANNA)

    assert run_doctor(client, TABLE, fix=True).left == []
    assert contents.partition(keys.pair_pk(ANNA.uuid, BERT.uuid))[0]["group_uuid"]["S"] == newer
    assert contents.conversation(GROUP).pair_group_uuid == newer
    assert contents.conversation(newer).pair_group_uuid is None


def test_old_conversation_with_more_rows_than_a_transaction_is_migrated(contents: TableContents, client: Any) -> None:
    contents.put(*old_conversation(*TIMES))
    for number in range(110):
        contents.put(old_row(ANNA, f"2022-01-01T00:00:00.{number:06}+00:00", BERT, "a double"))

    assert run_doctor(client, TABLE, fix=True).left == []
    contents.check(GROUP, ["old 0", "old 1", "old 2"])


def test_row_of_another_conversation_is_not_overwritten(
    new_store: NewStore, contents: TableContents, client: Any
) -> None:
    group = sound_table(new_store)
    place = next(row for row in contents.inbox(ANNA) if row.group_uuid == group)
    contents.remove(place.key())
    in_the_way = old_row(ANNA, place.last_message_at, CARL, "in the way", group=OTHER)
    contents.put(in_the_way)  # a conversation that is not migrated
    assert run_doctor(client, TABLE, group=group, fix=True).left == []

    assert in_the_way in contents.items()
    assert contents.conversation(group).last_message_at == tick_after(place.last_message_at)
    assert run_doctor(client, TABLE, group=group).codes == []


def test_rewrite_overwrites_no_attribute(contents: TableContents, client: Any) -> None:
    row = old_row(ANNA, TIMES[0], BERT, "as read")
    numbered, edited = {**row, "seq": {"N": "1"}}, {**row, "message": {"S": "written meanwhile"}}
    for stored, target in ((edited, None), (edited, numbered), ({**row, "seq": {"N": "7"}}, numbered)):
        contents.put(stored)
        with pytest.raises(WriteRefused):
            rewrite.write_all(Table(client, TABLE), [rewrite.rewrite(row, target)])
        assert contents.items() == [stored]


def test_guard_stays_if_nothing_else_names_the_members(contents: TableContents, client: Any) -> None:
    guard = PairGuard(user_uuids=(ANNA.uuid, BERT.uuid), group_uuid=GROUP).to_item()
    contents.put(guard, old_message(TIMES[0], ANNA, "lost"))
    assert run_doctor(client, TABLE, fix=True).left == [Code.STATE_MISSING]
    assert guard in contents.items()


@pytest.mark.parametrize("unknown", [False, True], ids=["known", "unknown"])
def test_migration_takes_a_missing_name_from_postgres(contents: TableContents, client: Any, unknown: bool) -> None:
    contents.put(old_message(TIMES[0], BERT, "hello"), old_row(ANNA, TIMES[0], BERT, "hello"))
    people = People(BERT) if unknown else People(ANNA, BERT)
    left = run_doctor(client, TABLE, fix=True, people=people).left
    if unknown:
        assert left == [Code.NOT_MIGRATED, Code.USER_UNKNOWN]
    else:
        assert left == []
        assert contents.inbox(BERT)[0].other == ANNA


def test_message_at_the_end_of_time_is_left_to_a_person(contents: TableContents, client: Any) -> None:
    contents.put(*old_conversation(TIMES[0], "9999-12-31T23:59:59.999999", rows_at=TIMES[0]))
    assert run_doctor(client, TABLE, fix=True).left == [Code.ITEM_MALFORMED]
    assert run_doctor(client, TABLE, fix=True).codes == [Code.ITEM_MALFORMED]
    assert ["seq" in item for item in contents.partition(f"MSG#{GROUP}")] == [True, False]


def test_message_of_stream_mode_may_wait_a_minute_for_its_number(
    new_store: NewStore, contents: TableContents, client: Any
) -> None:
    clock = SteppingClock(timedelta(0))
    group = new_store(clock=clock).send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
    streamed_stores_on(client, TABLE)(clock=clock).send(group_uuid=group, sender=BERT, text="two")

    for group_uuid in (None, group):
        assert run_doctor(client, TABLE, group=group_uuid, clock=lambda: START + timedelta(seconds=59)).codes == []
    late = run_doctor(client, TABLE, clock=lambda: START + timedelta(seconds=61), fix=True)
    assert (late.codes, late.left) == ([Code.MESSAGE_NUMBERS], [])
    contents.check(group, ["one", "two"])


def test_late_message_with_a_later_number_is_sound(new_store: NewStore, contents: TableContents, client: Any) -> None:
    group = sound_table(new_store)
    contents.put(Message(group, after_start(2.5), "a uuid", "late", BERT, seq=None).to_item())
    assert run_doctor(client, TABLE, fix=True).codes == [Code.MESSAGE_NUMBERS]

    assert [message.seq for message in contents.messages(group)] == [1, 2, 6, 3, 4, 5]
    assert run_doctor(client, TABLE).codes == []


def test_one_conversation_is_repaired_without_a_scan(contents: TableContents, client: Any) -> None:
    contents.put(*ITEMS)
    scans: list[int] = []
    with before(client, "Scan", lambda: scans.append(1)):
        report = run_doctor(client, TABLE, group=group_of(4), fix=True, people=People(*PEOPLE))
    assert (report.codes, report.left, scans) == ([Code.NOT_MIGRATED], [], [])
    assert sum(item["pk"]["S"].startswith("CONV#") for item in contents.items()) == 1


def test_repair_keeps_the_blocks_of_all_conversations_and_of_a_lost_guard(
    new_store: NewStore, contents: TableContents, client: Any
) -> None:
    group = sound_table(new_store)
    for name in ("a block in the second conversation", "a block in a guard that lost its conversation"):
        corruptions[name].corrupt(contents, group)

    assert run_doctor(client, TABLE, fix=True).left == []
    *_, newest = contents.inbox(CARL)
    assert contents.conversation(newest.group_uuid).blockers == {ANNA.uuid, CARL.uuid}
    assert contents.conversation(group).blockers == {BERT.uuid}
    assert {(row.group_uuid, row.blocks) for row in contents.inbox(BERT)} == {(group, True)}
    blocks = blocks_of(new_store())
    listed = {user.handle: [block.user for block in blocks.page(user_uuid=user.uuid, limit=9).items] for user in USERS}
    assert listed == {"anna": [CARL], "bert": [DORA, ANNA], "carl": [ANNA]}


def test_doctor_lists_no_block_that_ends_meanwhile(new_store: NewStore, contents: TableContents, client: Any) -> None:
    sound_table(new_store)
    blocks, listed = blocks_of(new_store()), block_key(BERT.uuid, DORA.uuid)
    contents.remove(listed)
    ends = iter([lambda: blocks.remove(user=BERT, other=DORA)])
    with before(client, "TransactWriteItems", lambda: next(ends, lambda: None)()):
        assert run_doctor(client, TABLE, fix=True).left == []
    assert blocks.page(user_uuid=BERT.uuid, limit=9).items == []
