"""The survey keeps its items on disk: memory does not grow with the table."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from time import process_time

from lib.ddb.items import Conversation, InboxRow, Item, Member, Message, PairGuard
from lib.users.accounts import User
from tests.support.stores import START
from tools.doctor.conversation_check import findings_of
from tools.doctor.pair_check import is_sound
from tools.doctor.survey import Survey

MESSAGES = 96
"""In a conversation, which has 100 items with its state, guard and rows."""
CONVERSATIONS = 100


def pair(number: int) -> tuple[User, User]:
    a, b = (User(f"{2 * number + side:08x}-0000-4000-8000-000000000000", "a handle", "A name") for side in (0, 1))
    return a, b


def conversation(number: int) -> Iterator[Item]:
    """A sound conversation of two users of its own."""
    (a, b), group = pair(number), f"{number:08x}-1111-4111-8111-111111111111"
    for seq in range(1, MESSAGES + 1):
        created_at = f"2026-01-01T00:00:00.{seq:06}+00:00"
        text = f"message {seq} of conversation {number}, as long as people's messages are"
        last_uuid = f"{number:08x}-2222-4222-8222-{seq:012x}"
        yield Message(group, created_at, last_uuid, text, a, seq=seq).to_item()
    members = {a.uuid: Member(a, read_seq=seq), b.uuid: Member(b, read_seq=0)}
    yield Conversation(group, members, created_at, seq=seq, version=seq, created_at=created_at).to_item()
    yield PairGuard((a.uuid, b.uuid), group).to_item()
    for owner, other, read_seq in ((a, b, seq), (b, a, 0)):
        yield InboxRow(owner.uuid, created_at, group, text, other, seq, read_seq, a.uuid, last_uuid).to_item()


def test_memory_does_not_grow_with_the_table() -> None:
    with closing(Survey()) as survey:
        survey.add_users(
            (user.uuid, (f"{user.uuid}@example.com", None)) for n in range(CONVERSATIONS) for user in pair(n)
        )
        items = (item for number in range(CONVERSATIONS) for item in conversation(number))
        next(items)  # the first conversation lacks a message
        tracemalloc.start()
        assert survey.add_items(items) == 100 * CONVERSATIONS - 1
        held, _ = tracemalloc.get_traced_memory()
        candidates = [group for group in survey.groups() if findings_of(survey.conversation(group, now=START))]
        assert candidates == ["00000000-1111-4111-8111-111111111111"]
        assert all(is_sound(pair, survey.pair(*pair)) for pair in survey.pairs())
        assert [*survey.candidate_items(), *survey.unknown_users()] == []
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held < 500_000, "a page leaves nothing behind"
    assert peak < 8 * 1024 * 1024, "memory holds a page of 1000 items at a time"


def test_address_that_a_user_chose_is_private_only_if_it_is_a_users() -> None:
    receipt: Item = {"pk": {"S": "IDEM#1#an@shop.test"}, "sk": {"S": "STATE"}, "answer": {"M": {"pk": {"S": "MSG#1"}}}}
    state: Item = {"pk": {"S": "CONV#1"}, "sk": {"S": "STATE"}, "members": {"M": {"1": {"M": {}}}}}
    state["members"]["M"]["1"]["M"]["display_name"] = {"S": "An@shop.test"}
    with closing(Survey()) as survey:
        assert survey.private_values([receipt, state]) == set()
        survey.add_users([("1", ("an@shop.test", None))])
        assert survey.private_values([receipt, state]) == {"an@shop.test", "An@shop.test"}


def test_search_for_addresses_takes_linear_time() -> None:
    picture: Item = {"pk": {"S": "MSG#1"}, "sk": {"S": "STATE"}, "picture": {"S": "x" * 40_000}}
    started = process_time()
    with closing(Survey()) as survey:
        assert survey.private_values([picture]) == set()
        picture["picture"]["S"] += "@example.com"
        assert survey.private_values([picture]) == {picture["picture"]["S"]}
    assert process_time() - started < 1
