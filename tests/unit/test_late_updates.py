"""Late updates: which writes of inbox rows count as late, and that every reader of an inbox knows the count's item."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lib.aws.dynamodb_client import DynamoDBClient
from lib.aws.metering import start_metering
from lib.clock import Clock, now, to_timestamp
from lib.ddb.errors import FeedGap
from lib.ddb.inbox_rows import LATE
from lib.ddb.items import LateUpdates, Message, late_updates_key
from lib.ddb.migration import old_groups
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.table import WRITE_SECONDS, Table, Write
from lib.deadline import seconds_left
from lib.users.accounts import User
from tests.support.corruptions import corruptions
from tests.support.doctor_fixtures import run_doctor, sound_table
from tests.support.old_data import GROUP, TIMES, old_conversation, old_message, old_row
from tests.support.stores import ANNA, BERT, CARL, NewStore, TableContents, positions_of
from tests.support.streamed import streamed_stores_on
from tests.unit.conftest import TABLE

LATE_SECONDS = LATE.total_seconds()


def ago(seconds: float) -> Clock:
    """A clock that is behind."""
    return lambda: now() - timedelta(seconds=seconds)


def counts(contents: TableContents) -> dict[str, int]:
    """The counts of late updates by user."""
    items = [item for item in contents.items() if item["sk"]["S"] == "late"]
    return {item["pk"]["S"].removeprefix("GRP#"): LateUpdates.from_item(item).count for item in items}


def count_late(contents: TableContents, *users: User, count: int = 1) -> None:
    values = {"late_updates": {"N": str(count)}, "updated_at": {"S": TIMES[0]}}
    contents.put(*(late_updates_key(user.uuid) | values for user in users))


def started(new_store: NewStore, *, seconds_ago: float = 600) -> str:
    return new_store(clock=ago(seconds_ago)).send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid


class Sender:
    """Sends in stream mode to one conversation; the function comes later."""

    def __init__(self, client: Any, group_uuid: str) -> None:
        self._client = client
        self._group_uuid = group_uuid
        self._updates = SequenceNumbers(Table(client, TABLE))

    def send(self, *, seconds_ago: float) -> Message:
        store = streamed_stores_on(self._client, TABLE)(clock=ago(seconds_ago))
        return store.send(group_uuid=self._group_uuid, sender=BERT, text=f"of {seconds_ago} s ago")

    def update(self, *messages: Message) -> None:
        self._updates.update(self._group_uuid, messages)


@pytest.fixture
def sender(new_store: NewStore, api_client: DynamoDBClient) -> Sender:
    return Sender(api_client, started(new_store))


@pytest.mark.parametrize(("seconds_ago", "count"), [(0, {}), (LATE_SECONDS + 1, {ANNA.uuid: 1, BERT.uuid: 1})])
def test_update_counts_for_both_members_if_its_last_message_is_old(
    sender: Sender, contents: TableContents, seconds_ago: float, count: dict[str, int]
) -> None:
    sender.update(sender.send(seconds_ago=seconds_ago))
    assert counts(contents) == count


def test_each_late_update_counts_and_a_repeated_record_does_not(sender: Sender, contents: TableContents) -> None:
    for seconds_ago in (40, 30, 20):
        message = sender.send(seconds_ago=seconds_ago)
        for _ in range(2):
            sender.update(message)
    assert counts(contents) == {ANNA.uuid: 3, BERT.uuid: 3}


def test_late_batch_whose_last_message_is_young_moves_the_rows_into_the_window(
    sender: Sender, contents: TableContents, new_store: NewStore
) -> None:
    since = new_store().list_inbox(user_uuid=ANNA.uuid, limit=20).feed_cursor
    assert since
    sender.update(sender.send(seconds_ago=12), sender.send(seconds_ago=0))
    assert counts(contents) == {}
    page = new_store().list_changed(user_uuid=ANNA.uuid, limit=20, since=since)
    assert [(row.text, row.seq) for row in page.items] == [("of 0 s ago", 3)]


def test_message_below_the_last_one_counts_if_the_rows_stay_at_an_old_place(
    sender: Sender, contents: TableContents
) -> None:
    last = sender.send(seconds_ago=20)
    sender.update(last)
    below = replace(last, created_at=to_timestamp(ago(30)()), uuid="another uuid")
    contents.put(below.to_item())
    sender.update(below)
    assert [message.seq for message in contents.messages(last.group_uuid)] == [1, 3, 2]
    assert counts(contents) == {ANNA.uuid: 2, BERT.uuid: 2}


def test_age_is_checked_at_every_try_and_the_write_ends_five_seconds_later(
    sender: Sender, contents: TableContents, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, transact, limits = sender.send(seconds_ago=0), Table.transact, []

    def slow(moment: datetime) -> datetime:
        time.sleep(0.1)
        return moment

    def take_the_place_first(table: Table, writes: Sequence[Write], **options: Any) -> None:
        limits.append(seconds_left())
        if len(limits) == 1:
            contents.put(old_row(ANNA, message.created_at, CARL, "another conversation", group=GROUP))
            monkeypatch.setattr("lib.ddb.inbox_rows.now", lambda: slow(now() + LATE))
        transact(table, writes, **options)

    monkeypatch.setattr("lib.ddb.inbox_rows.now", lambda: slow(now()))
    monkeypatch.setattr(Table, "transact", take_the_place_first)
    sender.update(message)
    assert len(limits) == 2
    assert max(limits) <= WRITE_SECONDS - 0.1
    assert counts(contents) == {ANNA.uuid: 1, BERT.uuid: 1}


def test_sends_and_read_positions_of_inline_mode_count_nothing(new_store: NewStore, contents: TableContents) -> None:
    group = started(new_store)
    new_store(clock=ago(60)).send(group_uuid=group, sender=BERT, text="two")
    positions_of(new_store()).mark_read(group_uuid=group, user=ANNA, seq=2)
    assert counts(contents) == {}


@pytest.mark.parametrize("rows_at", [None, TIMES[0]], ids=["in place", "left behind"])
def test_migration_by_the_api_counts_if_it_moves_rows(
    contents: TableContents, new_store: NewStore, rows_at: str | None
) -> None:
    contents.put(*old_conversation(*TIMES, rows_at=rows_at))
    since = new_store().list_inbox(user_uuid=BERT.uuid, limit=20).feed_cursor
    assert since
    new_store().send(group_uuid=GROUP, sender=ANNA, text="new")
    if rows_at:
        assert counts(contents) == {ANNA.uuid: 1, BERT.uuid: 1}
    else:
        page = new_store().list_changed(user_uuid=BERT.uuid, limit=20, since=since)
        assert [row.text for row in page.items] == ["new"]


def test_migration_that_moves_rows_to_a_late_message_counts(
    contents: TableContents, api_client: DynamoDBClient, new_store: NewStore
) -> None:
    first, last = (to_timestamp(ago(seconds)()) for seconds in (600, 12))
    new = old_message(last, BERT, "new")
    contents.put(
        old_message(first, ANNA, "old"), new, old_row(ANNA, first, BERT, "old"), old_row(BERT, first, ANNA, "old")
    )
    since = new_store().list_inbox(user_uuid=ANNA.uuid, limit=20).feed_cursor
    assert since
    SequenceNumbers(Table(api_client, TABLE)).update(GROUP, [Message.from_item(new)])
    assert counts(contents) == {ANNA.uuid: 1, BERT.uuid: 1}
    with pytest.raises(FeedGap):
        new_store().list_changed(user_uuid=ANNA.uuid, limit=20, since=since)


@pytest.mark.parametrize(
    "name", ["a member without a row", "a row that was left behind", "a message that was never counted"]
)
def test_repair_of_the_doctor_counts(name: str, contents: TableContents, client: Any, new_store: NewStore) -> None:
    group = sound_table(new_store)
    corruptions[name].corrupt(contents, group)
    assert run_doctor(client, TABLE, fix=True).left == []
    assert counts(contents) == {ANNA.uuid: 1, BERT.uuid: 1}


def test_doctor_finds_nothing_wrong_in_late_updates_and_keeps_them(
    contents: TableContents, client: Any, new_store: NewStore
) -> None:
    sound_table(new_store)
    count_late(contents, ANNA, BERT)
    before = contents.items()
    assert run_doctor(client, TABLE, fix=True).codes == []
    assert contents.items() == before


def test_late_updates_are_no_conversation_of_an_inbox(
    contents: TableContents, client: Any, new_store: NewStore, capfd: pytest.CaptureFixture[str]
) -> None:
    contents.put(*old_conversation(*TIMES))
    new_store().send_to_user(sender=ANNA, receiver=CARL, text="to carl")
    count_late(contents, ANNA)
    assert old_groups(Table(client, TABLE), user_uuid=ANNA.uuid) == {BERT.uuid: GROUP}
    assert positions_of(new_store()).unread_count(user_uuid=CARL.uuid, at_most=99) == 1
    texts = [row.text for row in new_store().list_inbox(user_uuid=ANNA.uuid, limit=20).items]
    assert len(texts) == 2
    assert "item_malformed" not in "".join(capfd.readouterr())


def test_malformed_late_updates_hide_no_conversation(contents: TableContents, new_store: NewStore) -> None:
    started(new_store)
    since = new_store().list_inbox(user_uuid=BERT.uuid, limit=20).feed_cursor
    assert since
    contents.put(late_updates_key(BERT.uuid))
    new_store().send_to_user(sender=ANNA, receiver=BERT, text="two")
    assert [row.text for row in new_store().list_inbox(user_uuid=BERT.uuid, limit=20).items] == ["two"]
    assert [row.text for row in new_store().list_changed(user_uuid=BERT.uuid, limit=20, since=since).items] == ["two"]


def test_full_page_of_an_inbox_with_late_updates_is_one_query(contents: TableContents, new_store: NewStore) -> None:
    store = new_store()
    for sender in (BERT, CARL):
        store.send_to_user(sender=sender, receiver=ANNA, text=sender.handle)
    count_late(contents, ANNA, count=7)
    meter = start_metering()
    page = store.list_inbox(user_uuid=ANNA.uuid, limit=1)
    assert meter.requests == 1
    assert [row.text for row in page.items] == ["carl"]
    assert page.next_cursor
    assert [row.text for row in store.list_inbox(user_uuid=ANNA.uuid, limit=1, cursor=page.next_cursor).items] == [
        "bert"
    ]
    assert page.feed_cursor
    assert [row.text for row in store.list_changed(user_uuid=ANNA.uuid, limit=1, since=page.feed_cursor).items] == [
        "bert"
    ]


def test_table_with_a_lower_count_is_a_gap(contents: TableContents, new_store: NewStore) -> None:
    """A table that an operator restored from a backup lacks rows that the client knows."""
    started(new_store)
    count_late(contents, ANNA, count=7)
    since = new_store().list_inbox(user_uuid=ANNA.uuid, limit=20).feed_cursor
    assert since
    count_late(contents, ANNA, count=6)
    with pytest.raises(FeedGap):
        new_store().list_changed(user_uuid=ANNA.uuid, limit=20, since=since)
