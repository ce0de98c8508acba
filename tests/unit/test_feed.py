"""The feed, case by case: what is late, torn, ahead of the clock or too much, and whose cursor is taken."""

from __future__ import annotations

from datetime import timedelta

import pytest
from itsdangerous import URLSafeSerializer

from lib.clock import to_timestamp
from lib.ddb import feed, keys
from lib.ddb.cursors import CursorSigner
from lib.ddb.errors import CursorInvalid
from lib.ddb.feed import FeedPosition
from lib.ddb.items import Message
from lib.ddb.store import MessageStore
from tests.support.inbox_model import InboxModel
from tests.support.stores import ANNA, BERT, CARL, NOON, NewStore, SteppingClock, all_pages

WINDOW = timedelta(seconds=10)
HOUR, YEAR = 3600, 365 * 24 * 3600
PK = keys.inbox_pk(ANNA.uuid)


class Reader:
    """Anna's client, at a server whose clock is `ahead` seconds ahead."""

    def __init__(self, inbox: InboxModel) -> None:
        self.inbox = inbox
        self.position = feed.after_inbox(inbox.rows()[::-1], now=inbox.now, window=WINDOW)
        self.more = False

    def groups(self, *, limit: int = 100, ahead: float = 0) -> list[str]:
        """The conversations that the next answer shows."""
        now = self.inbox.now + timedelta(seconds=ahead)
        rows, self.position, self.more = feed.read(
            self.inbox,  # type: ignore[arg-type]
            PK,
            self.position,
            limit=limit,
            now=now,
            window=WINDOW,
        )
        return [row.group_uuid for row in rows]


@pytest.fixture
def inbox() -> InboxModel:
    return InboxModel()


def move_all(inbox: InboxModel, count: int, **how: float) -> None:
    for number in range(count):
        inbox.wait(0.001)
        inbox.move(f"group {number}", **how)


def test_what_moved_is_given_once_the_oldest_first(inbox: InboxModel) -> None:
    inbox.move("a")
    reader = Reader(inbox)
    for group in ("b", "c", "b"):
        inbox.wait(1)
        inbox.move(group)
    assert [reader.groups(), reader.groups()] == [["c", "b"], []]


def test_a_row_that_appears_below_one_that_was_given_is_given(inbox: InboxModel) -> None:
    inbox.move("a")
    inbox.wait(60)
    reader = Reader(inbox)
    inbox.move("late", late=8)
    inbox.wait(1)
    inbox.move("b")
    assert reader.groups() == ["b"]
    inbox.wait(8)
    assert [reader.groups(), reader.groups()] == [["late"], []]


def test_a_row_of_a_clock_far_ahead_is_given_and_hides_nothing(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    inbox.move("ahead", skew=YEAR)
    assert reader.groups() == ["ahead"]
    inbox.wait(60)
    inbox.move("b")
    assert reader.groups() == ["b"]
    inbox.move("ahead")
    assert [reader.groups(), reader.groups()] == [["ahead"], []]


def test_nothing_is_too_late_for_an_inbox_at_rest(inbox: InboxModel) -> None:
    inbox.move("a")
    inbox.wait(1)
    reader = Reader(inbox)
    inbox.move("late", late=HOUR)
    inbox.wait(HOUR)
    assert reader.groups() == ["late"]


def test_a_reader_whose_clock_is_far_ahead_hides_nothing_that_comes_after(inbox: InboxModel) -> None:
    inbox.move("a")
    reader = Reader(inbox)
    assert reader.groups(ahead=YEAR) == []
    inbox.wait(1)
    inbox.move("b")
    assert reader.groups() == ["b"]


def test_a_row_at_two_places_is_given_at_the_later(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    inbox.move("a")
    inbox.wait(1)
    inbox.move("b")
    inbox.move("a", torn=2)
    assert len(inbox.rows()) == 3
    assert reader.groups() == ["b", "a"]
    inbox.wait(5)
    assert reader.groups() == []


def test_a_row_at_neither_place_is_given_when_it_is_there(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    inbox.move("a")
    inbox.wait(1)
    inbox.move("a", late=2, torn=-2)
    assert [reader.groups(), reader.groups()] == [[], []]
    inbox.wait(2)
    assert reader.groups() == ["a"]


def test_a_place_that_was_left_is_not_given_after_the_new_one(inbox: InboxModel) -> None:
    inbox.move("a")
    inbox.wait(1)
    inbox.move("a", torn=5)
    reader = Reader(inbox)
    reader.position = feed.after_inbox(inbox.rows()[-1:], now=inbox.now, window=WINDOW)
    assert reader.groups() == []


def test_readings_of_an_inbox_at_rest_have_one_cursor(inbox: InboxModel) -> None:
    move_all(inbox, 3)
    reader = Reader(inbox)
    positions = set()
    for _ in range(3):
        inbox.wait(60)
        assert reader.groups() == []
        positions.add(reader.position)
    assert len(positions) == 1
    assert positions == {FeedPosition(floor=inbox.rows()[-1].last_message_at)}


def test_an_empty_inbox_has_everything_before_it(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    assert reader.groups() == []
    inbox.move("of a clock that is behind", skew=-HOUR)
    assert reader.groups() == ["of a clock that is behind"]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_limit_cuts_the_reading_and_the_next_goes_on(inbox: InboxModel, limit: int) -> None:
    reader = Reader(inbox)
    move_all(inbox, 6)
    pages, more = [], True
    while more:
        pages.append(reader.groups(limit=limit))
        more = reader.more
    assert [len(page) for page in pages] == [limit] * (6 // limit)
    assert [group for page in pages for group in page] == [f"group {number}" for number in range(6)]


def test_a_reading_is_one_query(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    move_all(inbox, 150)
    for readings in range(1, 5):
        reader.groups()
        assert inbox.queries == readings
    assert len(reader.position.hashes) == 150


def test_a_query_that_is_cut_off_among_rows_that_were_given_is_gone_on_with() -> None:
    inbox = InboxModel(page_rows=7)
    reader = Reader(inbox)
    move_all(inbox, 20)
    assert len(reader.groups()) == 20
    inbox.move("one more")
    assert reader.groups() == ["one more"]


def test_a_cursor_names_160_rows_and_the_window_of_a_faster_inbox_shrinks(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    move_all(inbox, 300)
    given = [reader.groups(), reader.groups(), reader.groups(), reader.groups()]
    assert [len(groups) for groups in given] == [100, 100, 100, 0]
    assert len(reader.position.hashes) == feed.MAX_HASHES == 160
    assert reader.position.floor == inbox.rows()[300 - 160 - 1].last_message_at


def test_rows_ahead_of_the_clock_that_a_cursor_cannot_name_wait_until_they_are_due(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    move_all(inbox, 300, skew=YEAR)
    assert [len(reader.groups()) for _ in range(4)] == [100, 60, 0, 0]
    assert not reader.more
    inbox.move("on time")
    assert [reader.groups(), reader.groups()] == [["on time"], []]
    inbox.wait(YEAR)
    assert reader.groups() + reader.groups() == [f"group {number}" for number in range(160, 300)]


def test_the_longest_cursor_fits_a_request_line_and_twice_into_a_proxys_headers(inbox: InboxModel) -> None:
    reader = Reader(inbox)
    move_all(inbox, 300, skew=YEAR)
    for _ in range(2):
        reader.groups()
    assert len(reader.position.hashes) == 160
    cursor = CursorSigner("a secret of the tests").sign("feed", reader.position.to_payload(), pk=PK)
    assert 2 * len(cursor) < 3500  # Feed-Cursor and Link; nginx takes 4096 bytes of headers
    assert FeedPosition.from_payload(CursorSigner("a secret of the tests").verify("feed", cursor, pk=PK)) == (
        reader.position
    )


def test_who_was_shown_messages_knows_the_move_of_the_newest_alone(inbox: InboxModel) -> None:
    inbox.move("before the window")
    inbox.wait(60)
    for group in ("a", "shown"):
        inbox.wait(1)
        inbox.move(group)
    reader = Reader(inbox)
    newest = inbox.rows()[-1].last_message_at
    shown = [Message("shown", at, "a uuid", "text", BERT, seq=2) for at in (newest, to_timestamp(NOON))]
    reader.position = feed.after_messages(shown, now=inbox.now, window=WINDOW)
    assert reader.groups() == ["a"]
    inbox.move("shown")
    assert reader.groups() == ["shown"]


def feed_cursor(store: MessageStore) -> str:
    cursor = store.list_inbox(user_uuid=ANNA.uuid, limit=20).feed_cursor
    assert cursor
    return cursor


def test_every_list_starts_a_feed_and_the_feed_goes_on(new_store: NewStore) -> None:
    store = new_store(clock=SteppingClock(timedelta(seconds=60)))
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="1").group_uuid
    starts = [
        feed_cursor(store),
        store.list_messages(group_uuid=group, user=ANNA, limit=1).feed_cursor,
        store.list_messages(group_uuid=group, user=ANNA, limit=1, before="2999").feed_cursor,
        store.list_messages(group_uuid=group, user=ANNA, limit=1, after="1999").feed_cursor,
        store.list_messages(group_uuid=group, user=ANNA, limit=1, around="2026-01-02").feed_cursor,
    ]
    store.send_to_user(sender=CARL, receiver=ANNA, text="hello")
    for since in starts:
        assert since
        page = store.list_moved(user_uuid=ANNA.uuid, limit=20, since=since)
        assert [row.other for row in page.items] == [CARL]
        assert page.next is None
        assert page.feed_cursor
        assert store.list_moved(user_uuid=ANNA.uuid, limit=20, since=page.feed_cursor).items == []


def test_a_page_that_a_cursor_asked_for_starts_no_feed(new_store: NewStore) -> None:
    store = new_store()
    for receiver in (BERT, CARL):
        store.send_to_user(sender=ANNA, receiver=receiver, text="hello")
    cursor = store.list_inbox(user_uuid=ANNA.uuid, limit=1).next_cursor
    assert store.list_inbox(user_uuid=ANNA.uuid, limit=1, cursor=cursor).feed_cursor is None


def test_the_pages_of_a_feed_put_together_are_what_moved(new_store: NewStore) -> None:
    store = new_store(clock=SteppingClock(timedelta(seconds=3)))
    since = feed_cursor(store)
    store.send_to_user(sender=ANNA, receiver=BERT, text="hello")
    store.send_to_user(sender=CARL, receiver=ANNA, text="hello")
    pages = []
    while since:
        page = store.list_moved(user_uuid=ANNA.uuid, limit=1, since=since)
        pages.append([row.other.handle for row in page.items])
        since = page.next["since"] if page.next else ""
    assert pages == [["bert"], ["carl"]]
    assert len(all_pages(lambda cursor: store.list_inbox(user_uuid=ANNA.uuid, limit=1, cursor=cursor))) == 2


def test_a_feed_cursor_that_is_not_ones_own_is_refused(new_store: NewStore) -> None:
    store = new_store()
    store.send_to_user(sender=ANNA, receiver=BERT, text="hello")
    store.send_to_user(sender=ANNA, receiver=CARL, text="hello")
    cursor = feed_cursor(store)
    page_cursor = store.list_inbox(user_uuid=ANNA.uuid, limit=1).next_cursor
    forged = str(URLSafeSerializer("a guess", salt=f"feed {PK}").dumps(["", ""]))
    altered = (f"A{cursor[1:]}", cursor[:-1], cursor.swapcase(), cursor.partition(".")[0], f"{cursor}.x", "", "x", "é")
    for wrong in (page_cursor, forged, *altered):
        with pytest.raises(CursorInvalid):
            store.list_moved(user_uuid=ANNA.uuid, limit=1, since=str(wrong))
    with pytest.raises(CursorInvalid):
        store.list_moved(user_uuid=BERT.uuid, limit=1, since=cursor)
    with pytest.raises(CursorInvalid):
        store.list_inbox(user_uuid=ANNA.uuid, limit=1, cursor=cursor)
