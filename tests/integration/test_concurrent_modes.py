"""Both modes at once: inline sends, sends in stream mode, and two functions, in one conversation."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

from lib.ddb.errors import WriteConflict
from lib.ddb.items import Message
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.store import MessageStore
from lib.ddb.table import Table
from lib.users.accounts import User
from tests.support.doctor_fixtures import run_doctor, tomorrow
from tests.support.old_data import old_conversation
from tests.support.stores import ANNA, BERT, CARL, TableContents, positions_of, stores_on
from tests.support.streamed import streamed_stores_on

MESSAGES = 15
MIGRATIONS = 2


class Couple:
    """Two users, their conversation, and its acknowledged messages."""

    def __init__(self, store: MessageStore, *users: User) -> None:
        self.users = users
        first = store.send_to_user(sender=users[0], receiver=users[1], text="the first")
        self.group_uuid = first.group_uuid
        self.written = [first]

    def converse(self, store: MessageStore, sender: User, reader: User) -> None:
        for number in range(MESSAGES):
            text = f"{number} of {sender.handle} by {type(store).__name__}"
            self.written.append(store.send(group_uuid=self.group_uuid, sender=sender, text=text))
            if number % 5 == 0:
                positions_of(store).mark_read(group_uuid=self.group_uuid, user=reader, seq=number)

    def count(self, updates: SequenceNumbers, end: Callable[[], bool]) -> None:
        """Do the work of a function that gets each message at least once, and a failed batch again."""
        chance, is_last = random.Random(1), False  # noqa: S311
        while not is_last:
            is_last = end()  # before the choice of messages: the last round has all of them
            unnumbered = [message for message in self.written if message.seq is None]
            if batch := unnumbered if is_last else chance.sample(unnumbered, min(len(unnumbered), 10)):
                with suppress(() if is_last else WriteConflict):
                    updates.update(self.group_uuid, batch)


def check(contents: TableContents, group_uuid: str, written: list[Message]) -> None:
    messages = contents.messages(group_uuid)
    in_order = sorted(written, key=lambda message: message.created_at)
    assert [message.text for message in messages] == [message.text for message in in_order]
    assert sorted(message.seq or 0 for message in messages) == list(range(1, len(written) + 1))
    state, last = contents.conversation(group_uuid), messages[-1]
    assert (state.seq, state.last_message_at) == (len(messages), last.created_at)
    for member in state.members.values():
        [row] = [row for row in contents.inbox(member.user) if row.group_uuid == group_uuid]
        assert (row.last_message_at, row.text, row.sender_uuid) == (last.created_at, last.text, last.sender.uuid)
        assert (row.seq, row.read_seq) == (state.seq, member.read_seq)
        assert 0 < member.read_seq <= state.seq


def test_every_message_gets_one_number_while_both_modes_run(dynamodb_client: Any, table: str) -> None:
    new_stores = [stores_on(dynamodb_client, table), streamed_stores_on(dynamodb_client, table)]
    pairs = [Couple(new_stores[0](), ANNA, other) for other in (BERT, CARL)]
    updates = SequenceNumbers(Table(dynamodb_client, table))

    with ThreadPoolExecutor(12) as threads:
        talking = [
            threads.submit(pair.converse, new_store(), *users)
            for pair in pairs
            for new_store in new_stores
            for users in (pair.users, pair.users[::-1])
        ]
        counting = [
            threads.submit(pair.count, updates, lambda: all(future.done() for future in talking))
            for pair in pairs
            for _ in range(2)
        ]
        for future in talking + counting:
            future.result()

    for pair in pairs:
        check(TableContents(dynamodb_client, table), pair.group_uuid, pair.written)
    assert run_doctor(dynamodb_client, table, clock=tomorrow).findings == []


def test_simultaneous_migrations_of_both_modes_leave_a_consistent_conversation(
    dynamodb_client: Any, table: str
) -> None:
    inline, streamed = stores_on(dynamodb_client, table), streamed_stores_on(dynamodb_client, table)
    contents, updates = TableContents(dynamodb_client, table), SequenceNumbers(Table(dynamodb_client, table))
    for number in range(MIGRATIONS):
        group, start = f"{number:08}-55d1-47a0-bc6d-fe2bc2700399", Barrier(6)
        items = old_conversation(
            *(f"2023-01-01T00:{number:02}:00.{microsecond:06}" for microsecond in range(120)), group=group
        )
        contents.put(*items)
        written = [Message.from_item(item) for item in items[:-2]]
        new = written[-20:]  # the stream still has these

        def send(store: MessageStore, sender: User, *, group: str = group, start: Barrier = start) -> Message:
            start.wait()
            return store.send(group_uuid=group, sender=sender, text=f"by {sender.handle}")

        def read(*, group: str = group, start: Barrier = start) -> None:
            start.wait()
            inline().list_messages(group_uuid=group, user=ANNA, limit=1)

        def count(messages: list[Message], *, group: str = group, start: Barrier = start) -> None:
            start.wait()
            updates.update(group, messages)

        with ThreadPoolExecutor(start.parties) as threads:
            others = [threads.submit(read), threads.submit(count, new[:5]), threads.submit(count, new[5:])]
            sends = [(inline(), ANNA), (streamed(), ANNA), (streamed(), BERT)]
            written += [future.result() for future in [threads.submit(send, *users) for users in sends]]
            for future in others:
                future.result()
        updates.update(group, [message for message in written if message.seq is None])

        check(contents, group, written)
