"""The survey keeps its notes on disk: memory stays bounded however long the stream of items is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

from lib.ddb.items import Conversation, InboxRow, Item, Member, Message, PairGuard
from lib.users.directory import User
from tools.doctor.survey import Survey

MESSAGES_EACH = 95  # with a state, a guard and two rows, a conversation has 99 items
PAGE = 1_000
ITEMS = 60_000


def people(number: int) -> tuple[User, User]:
    low, high = 2 * number, 2 * number + 1
    return (
        User(f"{low:08x}-0000-4000-8000-000000000000", f"user{low}", f"User {low}"),
        User(f"{high:08x}-0000-4000-8000-000000000000", f"user{high}", f"User {high}"),
    )


def conversation(number: int) -> Iterator[Item]:
    """A sound conversation of two users of its own."""
    a, b = people(number)
    group = f"{number:08x}-1111-4111-8111-111111111111"
    for seq in range(1, MESSAGES_EACH + 1):
        at = f"2026-01-01T00:00:00.{seq:06}+00:00"
        text = f"message {seq} of conversation {number}, as long as people's messages are"
        yield Message(group, at, f"{number:08x}-2222-4222-8222-{seq:012x}", text, a, seq=seq).to_item()
    seq = MESSAGES_EACH
    members = {a.uuid: Member(a, read_seq=seq), b.uuid: Member(b, read_seq=0)}
    yield Conversation(group, members, at, seq=seq, version=seq, created_at=at).to_item()
    yield PairGuard((a.uuid, b.uuid), group).to_item()
    for owner, other, read_seq in ((a, b, seq), (b, a, 0)):
        yield InboxRow(owner.uuid, at, group, text, other, seq, read_seq, a.uuid).to_item()


def pages(count: int) -> Iterator[list[Item]]:
    """About so many items, page by page, as a scan gives them; one conversation is damaged."""
    page: list[Item] = []
    for number in range(count // (MESSAGES_EACH + 4)):
        page += conversation(number)
        if number == 7:
            del page[-30]
        if len(page) >= PAGE:
            yield page
            page = []
    yield page


def everybody(count: int) -> Iterator[tuple[str, tuple[str, str]]]:
    for number in range(count // (MESSAGES_EACH + 4)):
        for user in people(number):
            yield user.uuid, (f"{user.handle}@example.com", f"sub-of-{user.handle}")


def test_memory_does_not_grow_with_the_table() -> None:
    """Of 60 000 items the last ones are traced, because that is slow, and all questions about them."""
    with Survey() as survey:
        survey.add_users(everybody(ITEMS))
        held = []
        for number, page in enumerate(pages(ITEMS)):
            if number == 25:
                tracemalloc.start()
            survey.add_items(page)
            if tracemalloc.is_tracing():
                held.append(tracemalloc.get_traced_memory()[0])
        survey.close()
        assert [*survey.suspect_groups()] == ["00000007-1111-4111-8111-111111111111"]
        assert [*survey.suspect_items(), *survey.suspect_pairs(), *survey.unknown_users()] == []
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(held) > 30
    assert max(held) - held[1] < 500_000, "a page leaves nothing behind"
    assert peak < 16 * 1024 * 1024
