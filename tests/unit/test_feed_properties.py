"""Properties of the feed: a chain of cursors misses no move silently and returns none twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.clock import to_timestamp
from lib.ddb import feed, keys
from lib.ddb.errors import FeedGap
from lib.ddb.feed import Changes, FeedPosition
from lib.ddb.table import WRITE_SECONDS
from tests.support.inbox_model import InboxModel, Move, move_of
from tests.support.stores import ANNA

WINDOW = timedelta(seconds=10)
WRITERS_SKEW, READERS_SKEW, LATE, YEAR = 3, 2, 5, 365 * 24 * 3600  # the first three add up to the window
PK = keys.inbox_pk(ANNA.uuid)

Step = Callable[["Chain"], None]


class Chain:
    """Reads with a chain of cursors; checks each page against the model."""

    def __init__(self, inbox: InboxModel) -> None:
        self.inbox = inbox
        self.seen_in_lists = set(map(move_of, inbox.rows()))
        self.returned: set[Move] = set()
        self.position = FeedPosition("")

    def start(self, *, shown: int) -> None:
        """List the inbox. The first page shows the newest rows, and has the cursor."""
        rows, count = self.inbox.rows()[::-1], self.inbox.late_updates().count
        self.seen_in_lists |= set(map(move_of, rows))
        self.returned = set(map(move_of, rows[:shown]))
        self.position = feed.after_inbox(rows[:shown], now=self.inbox.now, window=WINDOW, late_updates=count)

    def start_by_messages(self, *, skew: float) -> None:
        """List the inbox and then messages, which give the cursor, at a server whose clock is `skew` seconds ahead."""
        self.start(shown=1)
        self.returned = set()
        now = self.inbox.now + timedelta(seconds=skew)
        self.position = FeedPosition.from_payload(feed.after_messages([], now=now, window=WINDOW).to_payload())

    def read(self, *, skew: float, limit: int) -> bool:
        """Read a page at a server whose clock is `skew` seconds ahead; return whether there are more."""
        changes = self.changes(skew=skew, limit=limit)
        rows, position = changes.rows, changes.position_after(len(changes.rows))
        self.position = FeedPosition.from_payload(position.to_payload())
        moves = list(map(move_of, rows))
        assert len(moves) <= limit
        assert len(position.hashes) <= feed.MAX_HASHES
        assert moves == sorted(moves, key=lambda move: move[1])
        assert len({group for group, *_ in moves}) == len(moves), "a torn conversation"
        assert not self.returned.intersection(moves), "returned twice"
        self.returned.update(moves)
        return changes.more

    def read_in_part(self, *, limit: int) -> bool:
        """Read a page as a stream does, and stop after one of its rows, as if the connection broke."""
        changes = self.changes(skew=0, limit=limit)
        taken = changes.rows[: 1 + len(changes.rows) // 2]
        moves = list(map(move_of, taken))
        assert not self.returned.intersection(moves), "returned twice"
        self.returned.update(moves)
        position = changes.position_after(len(taken))
        assert len(position.hashes) <= feed.MAX_HASHES
        self.position = FeedPosition.from_payload(position.to_payload())
        return changes.more or len(taken) < len(changes.rows)

    def changes(self, *, skew: float, limit: int) -> Changes:
        now = self.inbox.now + timedelta(seconds=skew)
        return feed.read(self.inbox, PK, self.position, limit=limit, now=now, window=WINDOW)  # type: ignore[arg-type]

    def missed(self, *, keys_up_to: str = "9") -> set[Move]:
        missing = self.inbox.current() - self.returned - self.seen_in_lists
        return {(group, key, seq) for group, key, seq in missing if key <= keys_up_to}

    def read_to_the_end(self) -> None:
        for pages in count():
            assert pages <= 100, "the feed does not end"
            if not self.read(skew=0, limit=3):
                return


def move(group: int, skew: float, late: int, torn: int) -> Step:
    return lambda chain: chain.inbox.move(f"group {group}", skew=skew, late=late, torn=torn)


def move_on_time(group: int, ahead: int) -> Step:
    def step(chain: Chain) -> None:
        chain.inbox.wait(0.001)
        chain.inbox.move(f"group {group}", skew=ahead)

    return step


def wait(seconds: float) -> Step:
    return lambda chain: chain.inbox.wait(seconds)


def read(skew: int, limit: int) -> Step:
    def step(chain: Chain) -> None:
        if not chain.read(skew=skew, limit=limit):
            assert chain.missed() == set()

    return step


def read_in_part(limit: int) -> Step:
    def step(chain: Chain) -> None:
        if not chain.read_in_part(limit=limit):
            assert chain.missed() == set()

    return step


def read_on_time(limit: int) -> Step:
    def step(chain: Chain) -> None:
        if not chain.read(skew=0, limit=limit):
            assert chain.missed(keys_up_to=to_timestamp(chain.inbox.now)) == set()

    return step


def move_in_stream_mode(group: int, skew: float, late: int, write_seconds: float) -> Step:
    return lambda chain: chain.inbox.move(
        f"group {group}", skew=skew, late=late, write_seconds=min(late, write_seconds)
    )


def number_late_message(group: int) -> Step:
    return lambda chain: chain.inbox.number_late_message(f"group {group}")


def start(chain: Chain, *, by_messages: bool) -> None:
    if by_messages:
        chain.start_by_messages(skew=READERS_SKEW)
    else:
        chain.start(shown=2)


def or_start_again(step: Step, *, by_messages: bool) -> Step:
    """A step of a client that lists the inbox again after a gap."""

    def act(chain: Chain) -> None:
        try:
            step(chain)
        except FeedGap:
            start(chain, by_messages=by_messages)

    return act


skews = st.sampled_from([-WRITERS_SKEW, 0, WRITERS_SKEW, YEAR])
moves = st.builds(move, st.integers(0, 4), skews, st.sampled_from([0, 1, LATE]), st.sampled_from([-1, 0, 1]))
waits = st.builds(wait, st.sampled_from([0.5, 2, LATE - 0.5, 30]))
reads = st.one_of(
    st.builds(read, st.sampled_from([-READERS_SKEW, 0, READERS_SKEW]), st.integers(1, 4)),
    st.builds(read_in_part, st.integers(1, 4)),
)


@settings(max_examples=200, deadline=None)
@given(
    before=st.lists(st.one_of(moves, waits), max_size=8),
    shown=st.integers(1, 6),
    steps=st.lists(st.one_of(moves, moves, waits, reads), min_size=15, max_size=40),
    page_rows=st.integers(1, 8),
)
def test_chain_of_cursors_returns_every_move_once(
    before: list[Step], shown: int, steps: list[Step], page_rows: int
) -> None:
    inbox = InboxModel(page_rows=page_rows)
    for step in before:
        step(Chain(inbox))
    chain = Chain(inbox)
    chain.start(shown=shown)
    for step in steps:
        step(chain)
    inbox.wait(LATE + 1)
    chain.read_to_the_end()
    assert chain.missed() == set()


moves_in_stream_mode = st.builds(
    move_in_stream_mode,
    st.integers(0, 4),
    st.sampled_from([-60, -WRITERS_SKEW, 0, WRITERS_SKEW]),
    st.sampled_from([0, 1, 4, 6, 8, 9, 12, 60]),
    st.sampled_from([0, 1, WRITE_SECONDS]),
)


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            moves_in_stream_mode,
            moves_in_stream_mode,
            st.builds(number_late_message, st.integers(0, 4)),
            waits,
            st.builds(or_start_again, reads, by_messages=st.booleans()),
        ),
        min_size=15,
        max_size=40,
    ),
    by_messages=st.booleans(),
    page_rows=st.integers(1, 8),
)
def test_chain_of_cursors_misses_no_late_move_silently(steps: list[Step], by_messages: bool, page_rows: int) -> None:
    chain = Chain(InboxModel(page_rows=page_rows))
    start(chain, by_messages=by_messages)
    for step in steps:
        step(chain)
    chain.inbox.wait(60)
    or_start_again(Chain.read_to_the_end, by_messages=False)(chain)
    assert chain.missed() == set()


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.builds(move_on_time, st.integers(0, 9), st.sampled_from([0, 0, 1, 60, YEAR, 2 * YEAR])),
            st.builds(read_on_time, st.integers(1, 4)),
            st.builds(wait, st.sampled_from([0.1, 1, 30])),
        ),
        min_size=15,
        max_size=60,
    ),
    page_rows=st.integers(1, 8),
)
def test_chain_of_full_cursors_misses_no_move(steps: list[Step], page_rows: int) -> None:
    with patch.object(feed, "MAX_HASHES", 3):
        chain = Chain(InboxModel(page_rows=page_rows))
        chain.start(shown=1)
        for step in steps:
            step(chain)
        chain.inbox.wait(3 * YEAR)
        chain.read_to_the_end()
        assert chain.missed() == set()
