"""Properties of the feed: a chain of cursors misses no move and returns none twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.clock import to_timestamp
from lib.ddb import feed, keys
from lib.ddb.feed import FeedPosition
from tests.support.inbox_model import InboxModel, Move
from tests.support.stores import ANNA

WINDOW = timedelta(seconds=10)
WRITERS_SKEW, READERS_SKEW, LATE, YEAR = 3, 2, 5, 365 * 24 * 3600  # the first three add up to the window
PK = keys.inbox_pk(ANNA.uuid)

Step = Callable[["Chain"], None]


class Chain:
    """Reads with a chain of cursors; checks each page against the model."""

    def __init__(self, inbox: InboxModel) -> None:
        self.inbox = inbox
        self.seen_at_first = {(row.group_uuid, row.last_message_at) for row in inbox.rows()}
        self.returned: set[Move] = set()
        self.position = FeedPosition("")

    def start(self, *, shown: int) -> None:
        """A first list, which shows the newest rows."""
        rows = self.inbox.rows()[::-1][:shown]
        self.returned = {(row.group_uuid, row.last_message_at) for row in rows}
        self.position = feed.after_inbox(rows, now=self.inbox.now, window=WINDOW)

    def read(self, *, skew: float, limit: int) -> bool:
        """Read a page at a server whose clock is `skew` seconds ahead; return whether there are more."""
        now = self.inbox.now + timedelta(seconds=skew)
        rows, position, more = feed.read(self.inbox, PK, self.position, limit=limit, now=now, window=WINDOW)  # type: ignore[arg-type]
        self.position = FeedPosition.from_payload(position.to_payload())
        moves = [(row.group_uuid, row.last_message_at) for row in rows]
        assert len(moves) <= limit
        assert len(position.hashes) <= feed.MAX_HASHES
        assert moves == sorted(moves, key=lambda move: move[1])
        assert len({group for group, _ in moves}) == len(moves), "a torn conversation"
        assert not self.returned.intersection(moves), "returned twice"
        self.returned.update(moves)
        return more

    def read_singly(self, *, limit: int) -> bool:
        """Read a page as a stream does, and stop after one of its rows, as if the connection broke."""
        changes, more = feed.read_singly(self.inbox, PK, self.position, limit=limit, now=self.inbox.now, window=WINDOW)  # type: ignore[arg-type]
        taken = changes[: 1 + len(changes) // 2]
        moves = [(row.group_uuid, row.last_message_at) for row, _ in taken]
        assert not self.returned.intersection(moves), "returned twice"
        self.returned.update(moves)
        if taken:
            self.position = FeedPosition.from_payload(taken[-1][1].to_payload())
        return more or len(taken) < len(changes)

    def missed(self, *, keys_up_to: str = "9") -> set[Move]:
        missing = self.inbox.current() - self.returned - self.seen_at_first
        return {(group, key) for group, key in missing if key <= keys_up_to}

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


def read_singly(limit: int) -> Step:
    def step(chain: Chain) -> None:
        if not chain.read_singly(limit=limit):
            assert chain.missed() == set()

    return step


def read_on_time(limit: int) -> Step:
    def step(chain: Chain) -> None:
        if not chain.read(skew=0, limit=limit):
            assert chain.missed(keys_up_to=to_timestamp(chain.inbox.now)) == set()

    return step


skews = st.sampled_from([-WRITERS_SKEW, 0, WRITERS_SKEW, YEAR])
moves = st.builds(move, st.integers(0, 4), skews, st.sampled_from([0, 1, LATE]), st.sampled_from([-1, 0, 1]))
waits = st.builds(wait, st.sampled_from([0.5, 2, LATE - 0.5, 30]))
reads = st.one_of(
    st.builds(read, st.sampled_from([-READERS_SKEW, 0, READERS_SKEW]), st.integers(1, 4)),
    st.builds(read_singly, st.integers(1, 4)),
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
