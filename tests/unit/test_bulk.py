"""The bulk loader: what it leaves in the table, also after a failure or a crash."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import Mock
from uuid import UUID, uuid5

import pytest
from botocore.exceptions import ClientError

from lib.clock import to_timestamp
from lib.ddb.errors import StoreUnavailable
from lib.ddb.items import Item, Message
from lib.ddb.table import Table
from lib.users.directory import User
from tests.support.doctor_fixtures import run_doctor
from tests.support.stores import ANNA, BERT, CARL, NOON, NewStore, TableContents
from tests.unit.conftest import TABLE
from tools.seed import bulk
from tools.seed.bulk import BulkLoader, ConversationRefused, NewConversation, NewMessage

GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
OTHER_GROUP = "b8b615ff-579c-43c1-b65d-492c20310f91"
SECOND = timedelta(seconds=1)

Note = Callable[[str], object]


class Crashed(BaseException):
    """The process ends here: nothing catches it."""


class Wire:
    """A client that calls `before` with each request's name, and `after` once the request is answered."""

    def __init__(self, client: Any, before: Note, after: Note = lambda name: None) -> None:
        self._client = client
        self._before, self._after = before, after

    def __getattr__(self, name: str) -> Any:
        def request(**arguments: Any) -> Any:
            self._before(name)
            answer = getattr(self._client, name)(**arguments)
            self._after(name)
            return answer

        return request


def stingy(client: Any, quota: Iterator[int | str]) -> Any:
    """A client whose BatchWriteItem takes as many items as the next of `quota`, or fails with it; at its end, all."""

    def write(*, RequestItems: dict[str, list[Any]], **arguments: Any) -> Any:  # noqa: N803
        [(name, requests)] = RequestItems.items()
        taken = next(quota, len(requests))
        if isinstance(taken, str):
            raise ClientError({"Error": {"Code": taken}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "BatchWriteItem")
        if requests[:taken]:
            client.batch_write_item(RequestItems={name: requests[:taken]}, **arguments)
        return {"UnprocessedItems": {name: requests[taken:]} if requests[taken:] else {}}

    return Mock(wraps=client, **{"batch_write_item.side_effect": write})


def plan(
    count: int, *, group: str = GROUP, members: tuple[User, User] = (ANNA, BERT), step: timedelta = SECOND
) -> NewConversation:
    """A conversation in which the first writes every third message and the last one is the second's, but for one."""
    messages = (
        NewMessage(str(uuid5(UUID(group), str(n))), NOON + n * step, members[n % 3 > 0 and n > 1], f"text {n}")
        for n in range(1, count + 1)
    )
    return NewConversation(group, members, messages)


def load(client: Any, *conversations: NewConversation, **options: Any) -> int:
    return BulkLoader(Table(client, TABLE)).load(conversations, **options)


def send(new_store: NewStore, conversation: NewConversation) -> None:
    """The same messages by the write path."""
    first, *others = conversation.messages
    names = iter([conversation.group_uuid, first.uuid, *(message.uuid for message in others)])
    times = iter([first.at, *(message.at for message in others)])
    store = new_store(clock=lambda: next(times), new_uuid=lambda: next(names))
    [receiver] = [member for member in conversation.members if member != first.sender]
    store.send_to_user(sender=first.sender, receiver=receiver, text=first.text)
    for message in others:
        store.send(group_uuid=conversation.group_uuid, sender=message.sender, text=message.text)


def by_key(items: Iterable[Item]) -> dict[tuple[str, str], Item]:
    return {(item["pk"]["S"], item["sk"]["S"]): item for item in items}


@pytest.mark.parametrize("count", [1, 2, 26, 28])
def test_load_leaves_the_same_items_as_sending(
    count: int, client: Any, contents: TableContents, new_store: NewStore
) -> None:
    send(new_store, plan(count))
    sent = by_key(contents.items())
    contents.clear()
    assert load(client, plan(count)) == count
    assert by_key(contents.items()) == sent
    contents.check(GROUP, [f"text {n}" for n in range(1, count + 1)])
    assert run_doctor(client, TABLE).codes == []


def test_inbox_shows_the_name_of_the_last_message(client: Any, contents: TableContents) -> None:
    renamed = replace(ANNA, display_name="Anna, later")
    first, second = NewMessage("a", NOON, ANNA, "one"), NewMessage("b", NOON + SECOND, renamed, "two")
    load(client, NewConversation(GROUP, (ANNA, BERT), [first, second]))
    assert contents.inbox(BERT)[0].other == renamed
    assert [message.sender for message in contents.messages(GROUP)] == [ANNA, renamed]


def test_messages_of_one_time_are_a_microsecond_apart(client: Any, contents: TableContents) -> None:
    load(client, plan(30, step=timedelta(0)))
    times = [to_timestamp(NOON + timedelta(microseconds=n)) for n in range(30)]
    assert [message.created_at for message in contents.messages(GROUP)] == times
    assert run_doctor(client, TABLE).codes == []


def test_two_conversations_that_end_at_the_same_time_have_two_rows(client: Any, contents: TableContents) -> None:
    load(client, plan(3), plan(3, group=OTHER_GROUP, members=(ANNA, CARL)))
    at = NOON + 3 * SECOND
    times = [to_timestamp(at), to_timestamp(at + timedelta(microseconds=1))]
    assert [row.last_message_at for row in contents.inbox(ANNA)] == times
    for group in (GROUP, OTHER_GROUP):
        contents.check(group, ["text 1", "text 2", "text 3"])
    assert run_doctor(client, TABLE).codes == []


def test_callback_gets_the_progress_and_a_second_load_writes_nothing(
    client: Any, contents: TableContents, new_store: NewStore
) -> None:
    def load_both() -> list[int]:
        progress: list[int] = []
        load(client, plan(60), plan(1, group=OTHER_GROUP, members=(ANNA, CARL)), each=progress.append)
        return progress

    assert load_both() == [25, 50, 59, 60, 61]
    new_store().send(group_uuid=GROUP, sender=ANNA, text="written since")
    before = by_key(contents.items())
    assert (load_both(), by_key(contents.items())) == ([], before)


def test_conversation_without_messages_writes_nothing(client: Any, contents: TableContents) -> None:
    assert load(client, plan(0)) == 0
    assert contents.items() == []


# Refusals


def test_pair_that_begins_to_talk_meanwhile_keeps_its_conversation(
    client: Any, contents: TableContents, new_store: NewStore
) -> None:
    store = new_store()

    def talk(name: str) -> None:
        if name == "batch_write_item":
            store.send_to_user(sender=BERT, receiver=ANNA, text="hello")

    with pytest.raises(ConversationRefused, match=f"The pair uses .*, not {GROUP}"):
        load(Wire(client, talk), plan(3))
    assert [row.text for row in contents.inbox(ANNA)] == ["hello"]


@pytest.mark.parametrize("count", [1, 3])
def test_uuid_of_another_conversation_is_refused(
    count: int, client: Any, contents: TableContents, new_store: NewStore
) -> None:
    send(new_store, plan(1, members=(BERT, CARL)))
    refuses(client, contents, count)


@pytest.mark.parametrize(("sender", "seq"), [(CARL, 1), (ANNA, None)])
def test_uuid_of_other_messages_is_refused(sender: User, seq: int | None, client: Any, contents: TableContents) -> None:
    contents.put(Message(GROUP, to_timestamp(NOON), "a uuid", "theirs", sender, seq=seq).to_item())
    refuses(client, contents, 30)


def refuses(client: Any, contents: TableContents, count: int) -> None:
    before = contents.items()
    with pytest.raises(ConversationRefused, match=f"^The conversation {GROUP} has other members: nothing was added$"):
        load(client, plan(count))
    assert contents.items() == before


def test_sender_outside_the_conversation_is_an_error_and_nobody_sees_the_messages(
    client: Any, contents: TableContents
) -> None:
    messages = [*plan(30).messages, NewMessage("a", NOON + 31 * SECOND, CARL, "stranger")]
    with pytest.raises(ValueError, match=f"{CARL.uuid} is no member"):
        load(client, NewConversation(GROUP, (ANNA, BERT), messages))
    assert contents.inbox(ANNA) == contents.inbox(BERT) == []


def test_simultaneous_loads_write_one_conversation(client: Any, contents: TableContents) -> None:
    others: list[int] = []

    def overtake(name: str) -> None:
        if name == "transact_write_items" and not others:
            others.append(0)
            others.append(load(client, plan(30)))

    assert load(Wire(client, overtake), plan(30)) == 29
    assert others == [0, 30]
    contents.check(GROUP, [f"text {n}" for n in range(1, 31)])


# Failures of DynamoDB


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pauses, none of which takes any time."""
    attempts: list[int] = []
    monkeypatch.setattr(bulk, "pause", attempts.append)
    return attempts


def test_loader_sends_unprocessed_items_again_after_a_pause(
    client: Any, contents: TableContents, pauses: list[int]
) -> None:
    refusals = "ProvisionedThroughputExceededException", "ThrottlingException"
    wire = stingy(client, iter([10, 0, 0, 7, *refusals, 3]))
    assert load(wire, plan(26)) == 26
    contents.check(GROUP, [f"text {n}" for n in range(1, 27)])
    assert pauses == [1, 2, 3, 1, 2, 3, 1]  # from the start again whenever something was written
    assert wire.batch_write_item.call_count == 8


@pytest.mark.parametrize("refusal", [0, "ThrottlingException"])
def test_lasting_lack_of_capacity_stops_the_load(
    refusal: int | str, client: Any, contents: TableContents, pauses: list[int]
) -> None:
    wire = stingy(client, itertools.chain([25], itertools.repeat(refusal)))
    with pytest.raises(StoreUnavailable, match="^DynamoDB kept refusing a batch of messages: too little capacity$"):
        load(wire, plan(10_000))
    assert len(contents.items()) == 25
    assert load(client, plan(60)) == 60


@pytest.mark.parametrize("code", ["AccessDeniedException", "InternalServerError"])
def test_failed_batch_stops_the_load(code: str, client: Any, contents: TableContents) -> None:
    error = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 500}}, "BatchWriteItem")
    asked: list[str] = []

    def fail(name: str) -> None:
        asked.append(name)
        if asked.count("batch_write_item") == 3:
            raise error

    with pytest.raises(StoreUnavailable, match=f"^{code}$"):
        load(Wire(client, fail), plan(10_000))
    assert "transact_write_items" not in asked
    assert asked.count("batch_write_item") <= 3 + 2 * bulk._WINDOW
    assert contents.inbox(ANNA) == []


def test_requests_run_in_parallel_and_few_messages_are_in_memory(client: Any) -> None:
    together = threading.Barrier(bulk._THREADS)
    made, written, ahead, busy = itertools.count(1), [0], [0], [0]

    def lazily(messages: Iterable[NewMessage]) -> Iterator[NewMessage]:
        for message in messages:
            ahead[0] = max(ahead[0], next(made) - written[0])
            yield message

    def count(name: str) -> None:
        if name == "batch_write_item" and busy[0] < bulk._THREADS:
            busy[0] += 1
            together.wait(timeout=10)  # nobody goes on before all are here

    conversation = plan(1_000)
    conversation = replace(conversation, messages=lazily(conversation.messages))
    load(Wire(client, count), conversation, each=lambda done: written.__setitem__(0, done))
    assert ahead[0] <= (bulk._WINDOW + 1) * 25 + 1


# Crashes


def crash_after(steps: int) -> Note:
    """End the process, with all its threads, after so many steps: before and after each of its requests."""
    left = itertools.count(steps, -1)

    def step(name: str) -> None:
        if next(left) <= 0:
            raise Crashed

    return step


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and windows in which a short conversation is a long one."""
    monkeypatch.setattr(bulk, "_BATCH", 1)
    monkeypatch.setattr(bulk, "_WINDOW", 2)
    monkeypatch.setattr(bulk, "_THREADS", 2)


def several() -> Sequence[NewConversation]:
    return plan(5), plan(1, group=OTHER_GROUP, members=(ANNA, CARL))


def test_next_load_continues_after_a_crash_at_any_step(client: Any, contents: TableContents, small: None) -> None:
    added: list[int] = []
    load(client, *several())
    whole = by_key(contents.items())
    for steps in itertools.count():
        contents.clear()
        step = crash_after(steps)
        try:
            load(Wire(client, step, step), *several())
        except Crashed:
            for row in contents.inbox(ANNA):  # nobody is promised what is not there
                contents.check(row.group_uuid, [f"text {n}" for n in range(1, (row.seq or 0) + 1)])
            progress = [6] if contents.inbox(ANNA) else []
            added.append(load(client, *several(), each=progress.append))
            assert 6 in progress  # the messages of the interrupted load are among those that are done
            assert by_key(contents.items()) == whole
        else:
            break
    assert len(added) > 20
    assert {6, 4, 1, 0} <= set(added)  # what is surely there is not written again


def test_next_load_writes_a_batch_that_the_crash_left_behind_others(
    client: Any, contents: TableContents, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, overtaken = BulkLoader._put, threading.Event()

    def put_in_another_order(loader: BulkLoader, batch: Sequence[Message]) -> int:
        if batch[0].seq == 1:
            overtaken.wait(10)
            raise Crashed
        written = put(loader, batch)
        overtaken.set()
        return written

    monkeypatch.setattr(BulkLoader, "_put", put_in_another_order)
    with pytest.raises(Crashed):
        load(client, plan(5))
    assert [message.seq for message in contents.messages(GROUP)] == [2]
    monkeypatch.setattr(BulkLoader, "_put", put)
    load(client, plan(5))
    contents.check(GROUP, [f"text {n}" for n in range(1, 6)])


def test_transaction_waits_for_every_batch(client: Any, small: None) -> None:
    begun: list[str] = []
    ended: list[str] = []

    def begin(name: str) -> None:
        begun.append(name)
        if begun.count("batch_write_item") == 4 and begun[-1] == "batch_write_item":
            time.sleep(0.05)  # the next request has time to overtake this one
        if name == "transact_write_items":
            assert ended.count("batch_write_item") == 4

    assert load(Wire(client, begin, ended.append), plan(5)) == 5
