"""Properties of the store: pages against a plain list, and sends in any order against a model."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.aws.dynamodb_client import DynamoDBClient
from lib.ddb.items import Message
from lib.users.directory import User
from tests.support.old_data import TIMES, name_in_guard, old_conversation
from tests.support.stores import ANNA, BERT, CARL, SteppingClock, stores_on
from tests.unit.conftest import TABLE, empty_table

USERS = (ANNA, BERT, CARL)
PROCESSES = 3

pairs = st.permutations(USERS).map(lambda users: (users[0], users[1]))
sends = st.lists(st.tuples(st.integers(0, PROCESSES - 1), pairs), min_size=1, max_size=25)
steps = st.sampled_from([timedelta(0), timedelta(seconds=1), timedelta(seconds=-1), timedelta(days=200)])


@settings(max_examples=25, deadline=None)
@given(sends=sends, clock_steps=st.tuples(*[steps] * PROCESSES))
def test_sends_from_several_processes_equal_a_list_a_pair(
    sends: list[tuple[int, tuple[User, User]]],
    clock_steps: tuple[timedelta, ...],
    api_client: DynamoDBClient,
    boto3_client: Any,
) -> None:
    with empty_table(boto3_client) as contents:
        new_store = stores_on(api_client, TABLE)
        stores = [new_store(clock=SteppingClock(step)) for step in clock_steps]
        model: dict[frozenset[str], list[tuple[str, str]]] = {}
        groups: dict[frozenset[str], str] = {}
        latest: list[frozenset[str]] = []
        for number, (process, (sender, receiver)) in enumerate(sends):
            message = stores[process].send_to_user(sender=sender, receiver=receiver, text=str(number))
            pair = frozenset((sender.uuid, receiver.uuid))
            model.setdefault(pair, []).append((sender.handle, str(number)))
            assert groups.setdefault(pair, message.group_uuid) == message.group_uuid
            assert message.seq == len(model[pair])
            latest = [pair, *(other for other in latest if other != pair)]

        for pair, messages in model.items():
            contents.check(groups[pair], [text for _, text in messages])
            stored = contents.messages(groups[pair])
            assert [(message.sender.handle, message.text) for message in stored] == messages
        for user in USERS:
            rows = {row.group_uuid: row for row in contents.inbox(user)}
            assert set(rows) == {groups[pair] for pair in model if user.uuid in pair}


OLD_GROUPS = ("5ae290ed-55d1-47a0-bc6d-fe2bc2700399", "00000000-55d1-47a0-bc6d-fe2bc2700399")

actions = st.one_of(st.just("by handle"), st.just("by handle"), st.sampled_from(OLD_GROUPS), st.just("guard"))


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, PROCESSES - 1), st.booleans(), actions), min_size=1, max_size=20))
def test_messages_by_handle_go_to_the_conversation_of_the_guard(
    steps: list[tuple[int, bool, str]], api_client: DynamoDBClient, boto3_client: Any
) -> None:
    """A pair has two old conversations; the guard names the first that is migrated, until the doctor changes it."""
    with empty_table(boto3_client) as contents:
        contents.put(*old_conversation(*TIMES, group=OLD_GROUPS[0]), *old_conversation(TIMES[0], group=OLD_GROUPS[1]))
        stores = [stores_on(api_client, TABLE)(clock=SteppingClock()) for _ in range(PROCESSES)]
        texts = {OLD_GROUPS[0]: ["old 0", "old 1", "old 2"], OLD_GROUPS[1]: ["old 0"]}
        migrated: set[str] = set()
        named = ""
        for number, (process, by_anna, action) in enumerate(steps):
            sender, receiver = (ANNA, BERT) if by_anna else (BERT, ANNA)
            text = str(number)
            if action == "guard":
                if len(migrated) == 2:
                    named, other = OLD_GROUPS[:: -1 if named == OLD_GROUPS[0] else 1]
                    name_in_guard(contents, named, other)
                continue
            if action == "by handle":
                named = named or OLD_GROUPS[0]  # the newest
                message = stores[process].send_to_user(sender=sender, receiver=receiver, text=text)
                assert message.group_uuid == named
            else:
                message = stores[process].send(group_uuid=action, sender=sender, text=text)
                named = named or action
            migrated.add(message.group_uuid)
            texts[message.group_uuid].append(text)

        for group in migrated:
            contents.check(group, texts[group])


@settings(max_examples=15, deadline=None)
@given(
    before=st.integers(1, 20),
    limits=st.lists(st.integers(1, 12), min_size=1, max_size=40),
    meanwhile=st.lists(st.booleans(), min_size=1, max_size=40),
)
def test_pages_of_any_size_equal_the_list_while_others_write(
    before: int, limits: list[int], meanwhile: list[bool], api_client: DynamoDBClient, boto3_client: Any
) -> None:
    with empty_table(boto3_client):
        store = stores_on(api_client, TABLE)(clock=SteppingClock())
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="0").group_uuid
        for number in range(1, before):
            store.send(group_uuid=group, sender=ANNA, text=str(number))

        messages: list[Message] = []
        cursor, page_number = None, 0
        while cursor is not None or page_number == 0:
            limit = limits[page_number % len(limits)]
            page = store.list_messages(group_uuid=group, user=BERT, limit=limit, cursor=cursor)
            assert len(page.items) == limit or page.next_cursor is None
            messages += page.items
            cursor = page.next_cursor
            if meanwhile[page_number % len(meanwhile)]:
                store.send(group_uuid=group, sender=BERT, text="meanwhile")
            page_number += 1

        assert [message.text for message in messages] == [str(number) for number in reversed(range(before))]
