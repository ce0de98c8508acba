"""The feed, case by case: rows that are late, torn, ahead of the clock, or more than a cursor can name."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest

from lib.clock import to_timestamp
from lib.config import ApiSettings
from lib.ddb import feed, keys
from lib.ddb.cursors import CursorSigner
from lib.ddb.errors import FeedGap
from lib.ddb.feed import Changes, FeedPosition
from lib.ddb.inbox_rows import LATE
from lib.ddb.items import Message
from lib.ddb.table import WRITE_SECONDS
from tests.support.inbox_model import InboxModel
from tests.support.stores import ANNA, BERT, START

WINDOW = timedelta(  # the shortest that the setting allows
    seconds=next(field for field in fields(ApiSettings) if field.name == "feed_window_seconds").metadata["low"]
)
HOUR, YEAR = 3600, 365 * 24 * 3600
PK = keys.inbox_pk(ANNA.uuid)


class Reader:
    """Anna's client."""

    def __init__(self, inbox: InboxModel) -> None:
        self.inbox = inbox
        late_updates = inbox.late_updates().count
        self.position = feed.after_inbox(inbox.rows()[::-1], now=inbox.now, window=WINDOW, late_updates=late_updates)
        self.more = False

    def changes(self, *, limit: int = 100, ahead: float = 0) -> Changes:
        """Read the feed at a server whose clock is `ahead` seconds ahead."""
        now = self.inbox.now + timedelta(seconds=ahead)
        return feed.read(self.inbox, PK, self.position, limit=limit, now=now, window=WINDOW)  # type: ignore[arg-type]

    def groups(self, *, limit: int = 100, ahead: float = 0) -> list[str]:
        """The conversations of a read, which moves the position."""
        changes = self.changes(limit=limit, ahead=ahead)
        self.position, self.more = changes.position_after(len(changes.rows)), changes.more
        return [row.group_uuid for row in changes.rows]


@pytest.fixture
def inbox() -> InboxModel:
    return InboxModel()


def move_all(inbox: InboxModel, count: int, **options: float) -> None:
    for number in range(count):
        inbox.wait(0.001)
        inbox.move(f"group {number}", **options)


def test_read_returns_each_move_once_oldest_first(inbox: InboxModel) -> None:
    inbox.move("a")
    reader = Reader(inbox)
    for group in ("b", "c", "b"):
        inbox.wait(1)
        inbox.move(group)
    assert [reader.groups(), reader.groups()] == [["c", "b"], []]


@pytest.mark.parametrize("known", [0, 3, 100, 159, 160])
def test_position_after_a_row_is_that_of_a_read_that_ends_there(inbox: InboxModel, known: int) -> None:
    move_all(inbox, 2)
    reader, singly = Reader(inbox), Reader(inbox)
    move_all(inbox, known)
    for client in (reader, singly):
        while client.groups():
            pass
    inbox.wait(5)
    move_all(inbox, 30)
    changes = reader.changes(limit=20)
    for number, row in enumerate(changes.rows, 1):
        assert singly.groups(limit=1) == [row.group_uuid]
        assert changes.position_after(number) == singly.position
    assert changes.more


def test_feed_without_changes_reads_no_row_again(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    move_all(inbox, 5)
    for seconds, count in ((0, 5), (60, 0), (0, 0)):
        inbox.wait(seconds)
        assert (len(reader.groups()), reader.more) == (count, False)
    assert reader.position == FeedPosition(inbox.rows()[-1].last_message_at)


def test_late_row_below_a_returned_one_is_returned(inbox: InboxModel) -> None:
    inbox.move("a")
    inbox.wait(60)
    reader = Reader(inbox)
    inbox.move("late", late=8)
    inbox.wait(1)
    inbox.move("b")
    assert reader.groups() == ["b"]
    inbox.wait(8)
    assert [reader.groups(), reader.groups()] == [["late"], []]


def test_late_update_below_the_floor_is_a_gap_until_the_inbox_is_listed_again(inbox: InboxModel) -> None:
    inbox.move("a")
    inbox.wait(60)
    inbox.move("b")
    reader = Reader(inbox)
    inbox.move("late", late=30, write_seconds=0)
    inbox.wait(20)
    inbox.move("c")
    assert reader.groups() == ["c"]
    inbox.wait(20)
    for _ in range(2):
        with pytest.raises(FeedGap):
            reader.groups()
    assert Reader(inbox).groups() == []


@pytest.mark.parametrize(
    ("age_at_the_check", "is_gap"), [(LATE.total_seconds(), False), (LATE.total_seconds() + 0.001, True)]
)
def test_slowest_update_that_does_not_count_is_in_the_window_of_a_clock_that_is_ahead(
    inbox: InboxModel, age_at_the_check: float, is_gap: bool
) -> None:
    reader = Reader(inbox)
    inbox.move("slow", late=age_at_the_check + WRITE_SECONDS, write_seconds=WRITE_SECONDS)
    for _ in range(100):
        inbox.wait(0.1)
        inbox.move("busy")
        try:
            groups = reader.groups(ahead=2)
        except FeedGap:
            assert is_gap
            return
        if "slow" in groups:
            assert not is_gap
            return
    raise AssertionError("the update is lost")


def test_gap_shows_at_the_end_of_a_read_in_several_pages(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    inbox.wait(60)
    move_all(inbox, 3)
    inbox.move("late", skew=-30, write_seconds=0)
    assert reader.groups(limit=1) == ["late"]
    assert reader.groups(limit=2) == ["group 0", "group 1"]
    assert reader.more
    for limit in (1, 2):
        with pytest.raises(FeedGap):
            reader.groups(limit=limit)


def test_item_above_the_late_updates_hides_no_gap(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    inbox.move("late", late=30, write_seconds=0)
    inbox.wait(30)
    inbox.put({"pk": {"S": PK}, "sk": {"S": "no time"}})
    with pytest.raises(FeedGap):
        reader.groups()


def test_cursor_of_messages_works_in_an_inbox_with_late_updates_and_sees_the_next_one(inbox: InboxModel) -> None:
    inbox.move("late", skew=-30, write_seconds=0)
    inbox.wait(20)
    reader = Reader(inbox)
    reader.position = feed.after_messages([], now=inbox.now, window=WINDOW)
    inbox.move("a")
    assert reader.groups() == ["a"]
    inbox.move("late", skew=-30, write_seconds=0)
    with pytest.raises(FeedGap):
        reader.groups()


def test_cursor_of_an_earlier_version_is_valid_until_an_update_is_late(inbox: InboxModel) -> None:
    inbox.move("a")
    reader = Reader(inbox)
    inbox.move("b")
    reader.position = FeedPosition.from_payload(reader.position.to_payload()[:2])
    assert reader.groups() == ["b"]
    inbox.move("late", skew=-30, write_seconds=0)
    with pytest.raises(FeedGap):
        reader.groups()


def test_row_whose_seq_grows_in_place_is_returned_again(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    inbox.move("a")
    assert reader.groups() == ["a"]
    inbox.number_late_message("a")
    assert [reader.groups(), reader.groups()] == [["a"], []]


def test_row_of_a_clock_far_ahead_is_returned_and_hides_nothing(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    inbox.move("ahead", skew=YEAR)
    assert reader.groups() == ["ahead"]
    inbox.wait(60)
    inbox.move("b")
    assert reader.groups() == ["b"]
    inbox.move("ahead")
    assert [reader.groups(), reader.groups()] == [["ahead"], []]


def test_quiet_inbox_misses_no_late_row(inbox: InboxModel) -> None:
    inbox.move("a")
    inbox.wait(1)
    reader = Reader(inbox)
    inbox.move("late", late=HOUR)
    inbox.wait(HOUR)
    assert reader.groups() == ["late"]


def test_reader_with_a_clock_far_ahead_misses_no_later_row(inbox: InboxModel) -> None:
    inbox.move("a")
    reader = Reader(inbox)
    assert reader.groups(ahead=YEAR) == []
    inbox.wait(1)
    inbox.move("b")
    assert reader.groups() == ["b"]


def test_row_at_two_places_is_returned_once_at_the_later(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    inbox.move("a")
    inbox.wait(1)
    inbox.move("b")
    inbox.move("a", torn=2)
    assert len(inbox.rows()) == 3
    assert reader.groups() == ["b", "a"]
    inbox.wait(5)
    assert reader.groups() == []


def test_row_at_neither_place_is_returned_when_it_appears(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    inbox.move("a")
    inbox.wait(1)
    inbox.move("a", late=2, torn=-2)
    assert [reader.groups(), reader.groups()] == [[], []]
    inbox.wait(2)
    assert reader.groups() == ["a"]


def test_old_place_of_a_row_is_not_returned_after_the_new_one(inbox: InboxModel) -> None:
    inbox.move("a")
    inbox.wait(1)
    inbox.move("a", torn=5)
    reader = Reader(inbox)
    reader.position = feed.after_inbox(inbox.rows()[-1:], now=inbox.now, window=WINDOW)
    assert reader.groups() == []


def test_quiet_inbox_keeps_its_cursor(inbox: InboxModel) -> None:
    move_all(inbox, 3)
    reader = Reader(inbox)
    positions = set()
    for _ in range(3):
        inbox.wait(60)
        assert reader.groups() == []
        positions.add(reader.position)
    assert len(positions) == 1
    assert positions == {FeedPosition(floor=inbox.rows()[-1].last_message_at)}


def test_cursor_of_an_empty_inbox_returns_any_row(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    assert reader.groups() == []
    inbox.move("of a clock that is behind", skew=-HOUR)
    assert reader.groups() == ["of a clock that is behind"]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_limit_cuts_a_read_and_the_next_read_continues(inbox: InboxModel, limit: int) -> None:
    reader = Reader(inbox)
    move_all(inbox, 6)
    pages, more = [], True
    while more:
        pages.append(reader.groups(limit=limit))
        more = reader.more
    assert [len(page) for page in pages] == [limit] * (6 // limit)
    assert [group for page in pages for group in page] == [f"group {number}" for number in range(6)]


def test_read_is_one_query(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    move_all(inbox, 150)
    for readings in range(1, 5):
        reader.groups()
        assert inbox.queries == readings
    assert len(reader.position.hashes) == 150


def test_read_continues_a_query_that_ends_among_known_rows() -> None:
    inbox = InboxModel(page_rows=7)
    reader = Reader(inbox)
    move_all(inbox, 20)
    assert len(reader.groups()) == 20
    inbox.move("one more")
    assert reader.groups() == ["one more"]


def test_cursor_names_160_rows_and_the_window_of_a_busy_inbox_shrinks(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    move_all(inbox, 300)
    assert [len(reader.groups()) for _ in range(4)] == [100, 100, 100, 0]
    assert len(reader.position.hashes) == feed.MAX_HASHES == 160
    assert reader.position.floor == inbox.rows()[300 - 160 - 1].last_message_at


def test_rows_ahead_of_the_clock_wait_if_the_cursor_has_no_room(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    move_all(inbox, 300, skew=YEAR)
    assert [len(reader.groups()) for _ in range(4)] == [100, 60, 0, 0]
    assert not reader.more
    inbox.move("on time")
    assert [reader.groups(), reader.groups()] == [["on time"], []]
    inbox.wait(YEAR)
    assert reader.groups() + reader.groups() == [f"group {number}" for number in range(160, 300)]


def test_longest_cursor_fits_twice_into_a_proxys_headers(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    move_all(inbox, 300, skew=YEAR)
    for _ in range(2):
        reader.groups()
    assert len(reader.position.hashes) == 160
    signer = CursorSigner("a secret of the tests")
    cursor = signer.sign("feed", reader.position.to_payload(), pk=PK)
    assert 2 * len(cursor) < 3500  # Feed-Cursor and Link; nginx takes 4096 bytes of headers
    assert FeedPosition.from_payload(signer.verify("feed", cursor, pk=PK)) == reader.position


def test_page_of_messages_counts_as_the_move_of_its_newest_message(inbox: InboxModel) -> None:
    inbox.move("before the window")
    inbox.wait(60)
    for group in ("a", "shown"):
        inbox.wait(1)
        inbox.move(group)
    reader = Reader(inbox)
    newest = inbox.rows()[-1].last_message_at
    shown = [Message("shown", time, "a uuid", "text", BERT, seq=2) for time in (newest, to_timestamp(START))]
    reader.position = feed.after_messages(shown, now=inbox.now, window=WINDOW)
    assert reader.groups() == ["a"]
    inbox.move("shown")
    assert reader.groups() == ["shown"]
