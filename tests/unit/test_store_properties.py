"""Properties of the store: pages against a plain list, and sends, blocks and renames in any order against a model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.aws.dynamodb_client import DynamoDBClient
from lib.ddb import keys
from lib.ddb.errors import ReceiverBlocked, ReceiverUnavailable, StoreError
from lib.ddb.items import Message, pair_key
from lib.ddb.store import MessageStore
from lib.users.accounts import User
from tests.support.doctor_fixtures import run_doctor
from tests.support.old_data import TIMES, name_in_guard, old_conversation
from tests.support.stores import ANNA, BERT, CARL, SteppingClock, blocks_of, stores_on
from tests.unit.conftest import TABLE, empty_table

USERS = (ANNA, BERT, CARL)
PROCESSES = 3

pairs = st.permutations(USERS).map(lambda users: (users[0], users[1]))
kinds = st.sampled_from(["send", "send", "send", "send by uuid", "block", "unblock", "rename"])
actions_of_users = st.lists(st.tuples(st.integers(0, PROCESSES - 1), kinds, pairs), min_size=1, max_size=30)
steps = st.sampled_from([timedelta(0), timedelta(seconds=1), timedelta(seconds=-1), timedelta(days=200)])


@dataclass
class PairModel:
    """A pair of users by the rules of docs/data-model.md: its messages, who has read how far, and who blocks."""

    group_uuid: str = ""
    messages: list[tuple[User, str]] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=dict)
    names: dict[str, User] = field(default_factory=dict)
    blockers: set[str] = field(default_factory=set)

    def refusal(self, sender: User) -> type[StoreError] | None:
        if sender.uuid in self.blockers:
            return ReceiverBlocked
        return ReceiverUnavailable if self.blockers else None

    def send(self, sender: User, receiver: User, text: str) -> None:
        self.names = {receiver.uuid: receiver} | self.names | {sender.uuid: sender}
        self.messages.append((sender, text))
        self.read[sender.uuid] = len(self.messages)

    def unread_count(self, user_uuid: str) -> int:
        return 0 if user_uuid in self.blockers else len(self.messages) - self.read.get(user_uuid, 0)


@settings(max_examples=30, deadline=None)
@given(actions=actions_of_users, clock_steps=st.tuples(*[steps] * PROCESSES))
def test_actions_of_users_in_several_processes_equal_the_model(
    actions: list[tuple[int, str, tuple[User, User]]],
    clock_steps: tuple[timedelta, ...],
    api_client: DynamoDBClient,
    boto3_client: Any,
) -> None:
    with empty_table(boto3_client) as contents:
        new_store = stores_on(api_client, TABLE)
        stores = [new_store(clock=SteppingClock(step)) for step in clock_steps]
        models: dict[frozenset[str], PairModel] = {}
        today = {user.uuid: user for user in USERS}
        for number, (process, action, (first, second)) in enumerate(actions):
            store, user, other, text = stores[process], today[first.uuid], today[second.uuid], str(number)
            model = models.setdefault(frozenset((user.uuid, other.uuid)), PairModel())
            if action == "rename":
                today[user.uuid] = replace(user, handle=f"{first.handle}-{number}", display_name=f"Number {number}")
            elif action == "block":
                blocks_of(store).add(user=user, other=other)
                model.blockers.add(user.uuid)
            elif action == "unblock":
                blocks_of(store).remove(user=user, other=other)
                model.blockers.discard(user.uuid)
            else:
                group = model.group_uuid if action == "send by uuid" else ""
                if refusal := model.refusal(user):
                    with pytest.raises(refusal):
                        send(store, user, other, text, group)
                else:
                    message = send(store, user, other, text, group)
                    model.send(user, other, text)
                    assert model.group_uuid in ("", message.group_uuid)
                    model.group_uuid = message.group_uuid
                    assert message.seq == len(model.messages)

        for pair, model in models.items():
            if model.messages:
                contents.check(model.group_uuid, [text for _, text in model.messages])
                stored = contents.messages(model.group_uuid)
                assert [(message.sender, message.text) for message in stored] == model.messages
                members = contents.conversation(model.group_uuid).members
                assert {uuid: member.user for uuid, member in members.items()} == model.names
                assert {uuid for uuid, member in members.items() if member.blocks} == model.blockers
            guard = contents.partition(keys.pair_pk(*pair))
            group_uuid = {"group_uuid": {"S": model.group_uuid}} if model.messages else {}
            blocks = {"blocks": {"SS": sorted(model.blockers)}} if model.blockers and not model.messages else {}
            assert guard == ([pair_key(*pair) | group_uuid | blocks] if group_uuid or blocks else [])
        for user in USERS:
            own = {next(iter(pair - {user.uuid})): models[pair] for pair in models if user.uuid in pair}
            shown = {row.group_uuid: (row.other, row.unread_count, row.blocks) for row in contents.inbox(user)}
            assert shown == {
                model.group_uuid: (model.names[other], model.unread_count(user.uuid), user.uuid in model.blockers)
                for other, model in own.items()
                if model.messages
            }
            listed = blocks_of(stores[0]).page(user_uuid=user.uuid, limit=9).items
            assert {block.user.uuid for block in listed} == {uuid for uuid in own if user.uuid in own[uuid].blockers}
        assert run_doctor(boto3_client, TABLE).findings == []


def send(store: MessageStore, sender: User, receiver: User, text: str, group: str) -> Message:
    """Send into a conversation, or by handle without one."""
    if group:
        return store.send(group_uuid=group, sender=sender, text=text)
    return store.send_to_user(sender=sender, receiver=receiver, text=text)


OLD_GROUPS = ("5ae290ed-55d1-47a0-bc6d-fe2bc2700399", "00000000-55d1-47a0-bc6d-fe2bc2700399")

actions = st.one_of(
    st.just("by handle"),
    st.just("by handle"),
    st.sampled_from(OLD_GROUPS),
    st.sampled_from(OLD_GROUPS),
    st.sampled_from(["guard", "block", "unblock"]),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, PROCESSES - 1), st.booleans(), actions), min_size=1, max_size=20))
def test_messages_by_handle_go_to_the_conversation_of_the_guard(
    steps: list[tuple[int, bool, str]], api_client: DynamoDBClient, boto3_client: Any
) -> None:
    """A pair has two old conversations; the guard names the first that is migrated, until the doctor changes it.

    A block holds for both.
    """
    with empty_table(boto3_client) as contents:
        contents.put(*old_conversation(*TIMES, group=OLD_GROUPS[0]), *old_conversation(TIMES[0], group=OLD_GROUPS[1]))
        stores = [stores_on(api_client, TABLE)(clock=SteppingClock()) for _ in range(PROCESSES)]
        texts = {OLD_GROUPS[0]: ["old 0", "old 1", "old 2"], OLD_GROUPS[1]: ["old 0"]}
        migrated: set[str] = set()
        named, blockers = "", set[str]()
        for number, (process, by_anna, action) in enumerate(steps):
            sender, receiver = (ANNA, BERT) if by_anna else (BERT, ANNA)
            text = str(number)
            if action == "guard":
                if len(migrated) == 2:
                    named, other = OLD_GROUPS[:: -1 if named == OLD_GROUPS[0] else 1]
                    name_in_guard(contents, named, other)
                continue
            if action in ("block", "unblock"):
                named = named or OLD_GROUPS[0]  # the newest
                migrated.add(named)
                blocks = blocks_of(stores[process])
                (blocks.add if action == "block" else blocks.remove)(user=sender, other=receiver)
                blockers = blockers | {sender.uuid} if action == "block" else blockers - {sender.uuid}
                continue
            if blockers:
                group = "" if action == "by handle" else action
                with pytest.raises(ReceiverBlocked if sender.uuid in blockers else ReceiverUnavailable):
                    send(stores[process], sender, receiver, text, group)
                named = named or action
                migrated |= {group} - {""}
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
