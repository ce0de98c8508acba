"""Properties of the store: pages against a plain list, and sends in any order against a model."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.aws.dynamodb_client import DynamoDBClient
from lib.ddb.items import Message
from lib.users.directory import User
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
