"""Positions of read against a model: any order of sends and marks, from several processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.aws.dynamodb_client import DynamoDBClient
from lib.users.accounts import User
from tests.support.read_position_contract import forget_last_seqs
from tests.support.stores import ANNA, BERT, CARL, SteppingClock, positions_of, stores_on
from tests.unit.conftest import TABLE, empty_table

USERS = (ANNA, BERT, CARL)
PROCESSES = 3

pairs = st.permutations(USERS).map(lambda users: (users[0], users[1]))
marks = st.one_of(st.just("send"), st.just("send"), st.just("unread"), st.just("forget"), st.integers(0, 12))
steps = st.lists(st.tuples(st.integers(0, PROCESSES - 1), pairs, marks), min_size=1, max_size=20)


@dataclass
class ConversationModel:
    """A conversation by the rules of docs/data-model.md: the sender of each message, and each read position."""

    group_uuid: str
    senders: list[str] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=dict)

    def send(self, user: User) -> None:
        self.senders.append(user.uuid)
        self.read[user.uuid] = len(self.senders)

    def mark_read(self, user: User, seq: int) -> None:
        self.read[user.uuid] = max(self.read.get(user.uuid, 0), min(seq, len(self.senders)))

    def mark_unread(self, user: User) -> None:
        of_other = [seq for seq, sender in enumerate(self.senders, start=1) if sender != user.uuid]
        if of_other:
            self.read[user.uuid] = min(self.read.get(user.uuid, 0), of_other[-1] - 1)

    def unread_count(self, user: User) -> int:
        return len(self.senders) - self.read.get(user.uuid, 0)


@settings(max_examples=20, deadline=None)
@given(steps=steps)
def test_marks_and_sends_in_any_order_equal_the_model(
    steps: list[tuple[int, tuple[User, User], str | int]], api_client: DynamoDBClient, boto3_client: Any
) -> None:
    with empty_table(boto3_client) as contents:
        stores = [stores_on(api_client, TABLE)(clock=SteppingClock()) for _ in range(PROCESSES)]
        models: dict[frozenset[str], ConversationModel] = {}
        for process, (user, other), mark in steps:
            store, pair = stores[process], frozenset((user.uuid, other.uuid))
            if mark == "send":
                message = store.send_to_user(sender=user, receiver=other, text="hello")
                models.setdefault(pair, ConversationModel(message.group_uuid)).send(user)
            elif model := models.get(pair):
                positions = positions_of(store)
                if mark == "forget":
                    forget_last_seqs(contents, model.group_uuid)
                    continue
                if isinstance(mark, int):
                    model.mark_read(user, mark)
                    state = positions.mark_read(group_uuid=model.group_uuid, user=user, seq=mark)
                else:
                    model.mark_unread(user)
                    state = positions.mark_unread(group_uuid=model.group_uuid, user=user)
                assert state.members[user.uuid].read_seq == model.read.get(user.uuid, 0)

        for model in models.values():
            contents.check(model.group_uuid, ["hello"] * len(model.senders))
        for user in USERS:
            own = {model.group_uuid: model.unread_count(user) for pair, model in models.items() if user.uuid in pair}
            assert {row.group_uuid: row.unread_count for row in contents.inbox(user)} == own
            total = positions_of(stores[0]).unread_count(user_uuid=user.uuid, at_most=10**6)
            assert total == sum(own.values())
