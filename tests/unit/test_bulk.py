"""The bulk loader: what it leaves in the table, also after a failure or a crash."""

from __future__ import annotations

import itertools
import threading
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
from lib.ddb.items import Conversation, Item, Member, Message
from lib.ddb.table import Table
from lib.users.accounts import User
from tests.support.doctor_fixtures import run_doctor
from tests.support.stores import ANNA, BERT, CARL, START, NewStore, TableContents
from tests.unit.conftest import TABLE
from tools.seed import bulk
from tools.seed.bulk import BulkLoader, ConversationRefused, NewConversation, NewMessage

GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
OTHER_GROUP, EMPTY_GROUP = "b8b615ff-579c-43c1-b65d-492c20310f91", "c8b615ff-579c-43c1-b65d-492c20310f91"
SECOND = timedelta(seconds=1)

Hook = Callable[[str], object]


class Crashed(BaseException):
    """The process ends here. The code under test does not catch it."""


class HookedClient:
    """A client that calls `before` with the name of each request, and `after` once it has the response."""

    def __init__(self, client: Any, before: Hook, after: Hook = lambda name: None) -> None:
        self._client = client
        self._before, self._after = before, after

    def __getattr__(self, name: str) -> Any:
        def request(**arguments: Any) -> Any:
            self._before(name)
            response = getattr(self._client, name)(**arguments)
            self._after(name)
            return response

        return request


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "BatchWriteItem")


def limited(client: Any, quotas: Iterator[int | ClientError]) -> Any:
    """A client whose BatchWriteItem writes as many items as the next quota, or raises it; without a quota, all."""

    def write(*, RequestItems: dict[str, list[Any]], **arguments: Any) -> Any:  # noqa: N803
        [(name, requests)] = RequestItems.items()
        quota = next(quotas, len(requests))
        if isinstance(quota, ClientError):
            raise quota
        if requests[:quota]:
            client.batch_write_item(RequestItems={name: requests[:quota]}, **arguments)
        return {"UnprocessedItems": {name: requests[quota:]} if requests[quota:] else {}}

    return Mock(wraps=client, **{"batch_write_item.side_effect": write})


def plan(
    count: int, *, group: str = GROUP, members: tuple[User, User] = (ANNA, BERT), step: timedelta = SECOND
) -> NewConversation:
    """A conversation in which the first member writes the first message and every third, the second all others."""
    messages = (
        NewMessage(str(uuid5(UUID(group), str(n))), START + n * step, members[n % 3 > 0 and n > 1], f"text {n}")
        for n in range(1, count + 1)
    )
    return NewConversation(group, members, messages)


def texts(count: int) -> list[str]:
    """The texts of a plan."""
    return [f"text {n}" for n in range(1, count + 1)]


def load(client: Any, *conversations: NewConversation, **options: Any) -> int:
    return BulkLoader(Table(client, TABLE)).load(conversations, **options)


def send(new_store: NewStore, conversation: NewConversation) -> None:
    """Write the same messages by the write path."""
    first, *others = conversation.messages
    names = iter([conversation.group_uuid, first.uuid, *(message.uuid for message in others)])
    times = iter([first.sent_at, *(message.sent_at for message in others)])
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
    contents.check(GROUP, texts(count))
    assert run_doctor(client, TABLE).codes == []


def test_inbox_shows_the_name_of_the_last_message(client: Any, contents: TableContents) -> None:
    renamed = replace(ANNA, display_name="Anna, later")
    first, second = NewMessage("a", START, ANNA, "one"), NewMessage("b", START + SECOND, renamed, "two")
    load(client, NewConversation(GROUP, (ANNA, BERT), [first, second]))
    assert contents.inbox(BERT)[0].other == renamed
    assert [message.sender for message in contents.messages(GROUP)] == [ANNA, renamed]


def test_equal_times_become_a_microsecond_apart(client: Any, contents: TableContents) -> None:
    load(client, plan(30, step=timedelta(0)), plan(30, group=OTHER_GROUP, members=(ANNA, CARL), step=timedelta(0)))
    times = [to_timestamp(START + timedelta(microseconds=n)) for n in range(31)]
    assert [message.created_at for message in contents.messages(GROUP)] == times[:30]
    assert [row.last_message_at for row in contents.inbox(ANNA)] == times[29:]
    for group in (GROUP, OTHER_GROUP):
        contents.check(group, texts(30))
    assert run_doctor(client, TABLE).codes == []


def test_second_load_writes_nothing_and_reports_no_progress(
    client: Any, contents: TableContents, new_store: NewStore
) -> None:
    def load_all() -> list[int]:
        progress: list[int] = []
        empty = plan(0, group=EMPTY_GROUP, members=(BERT, CARL))
        load(client, empty, plan(60), plan(1, group=OTHER_GROUP, members=(ANNA, CARL)), on_progress=progress.append)
        return progress

    assert load_all() == [25, 50, 59, 60, 61]
    new_store().send(group_uuid=GROUP, sender=ANNA, text="written since")
    before = by_key(contents.items())
    assert (load_all(), by_key(contents.items())) == ([], before)


# Refusals


def test_conversation_started_during_the_load_is_kept(
    client: Any, contents: TableContents, new_store: NewStore
) -> None:
    store = new_store()

    def start(name: str) -> None:
        if name == "batch_write_item":
            store.send_to_user(sender=BERT, receiver=ANNA, text="hello")

    with pytest.raises(ConversationRefused, match=f"During the load of the conversation {GROUP} its two users started"):
        load(HookedClient(client, start), plan(3))
    assert [row.text for row in contents.inbox(ANNA)] == ["hello"]


@pytest.mark.parametrize(
    "existing",
    [
        Message(GROUP, to_timestamp(START), "x", "by a stranger", CARL, seq=1),
        Message(GROUP, to_timestamp(START), "x", "not numbered, so not loaded", ANNA, seq=None),
        Conversation(GROUP, {user.uuid: Member(user, 1) for user in (ANNA, BERT)}, "", seq=1, version=1, created_at=""),
    ],
)
def test_uuid_of_another_conversation_is_refused(
    existing: Message | Conversation, client: Any, contents: TableContents
) -> None:
    contents.put(existing.to_item())
    before = contents.items()
    for count in (1, 30):
        with pytest.raises(ConversationRefused, match=f"^The conversation {GROUP} belongs to other users"):
            load(client, plan(count))
    assert contents.items() == before


def test_sender_outside_the_conversation_is_an_error_and_no_member_sees_the_messages(
    client: Any, contents: TableContents
) -> None:
    messages = [*plan(30).messages, NewMessage("a", START + 31 * SECOND, CARL, "stranger")]
    with pytest.raises(ValueError, match=f"{CARL.uuid} is not a member"):
        load(client, NewConversation(GROUP, (ANNA, BERT), messages))
    assert contents.inbox(ANNA) == contents.inbox(BERT) == []


def test_simultaneous_loads_write_one_conversation(client: Any, contents: TableContents) -> None:
    loads = iter([plan(30)])

    def overtake(name: str) -> None:
        if name == "transact_write_items":
            for conversation in loads:
                assert load(client, conversation) == 30

    load(HookedClient(client, overtake), plan(30))
    assert list(loads) == []
    contents.check(GROUP, texts(30))


# Failures of DynamoDB


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pauses, which take no time."""
    attempts: list[int] = []
    monkeypatch.setattr(bulk, "pause", attempts.append)
    return attempts


def test_load_that_another_one_completes_adds_nothing(client: Any, contents: TableContents) -> None:
    other = iter([lambda: load(client, plan(30))])

    def complete(name: str) -> None:  # after this load has found neither a guard nor old rows
        if name == "query" and (complete_other := next(other, None)):
            complete_other()

    assert load(HookedClient(client, lambda name: None, complete), plan(30)) == 0
    contents.check(GROUP, texts(30))


def test_loader_sends_unprocessed_items_again_after_a_pause(
    client: Any, contents: TableContents, pauses: list[int]
) -> None:
    refusals = refusal("ProvisionedThroughputExceededException"), refusal("ThrottlingException")
    hurried = limited(client, iter([10, 0, 0, 7, *refusals, 3]))
    assert load(hurried, plan(26)) == 26
    contents.check(GROUP, texts(26))
    assert pauses == [1, 2, 3, 1, 2, 3, 1]  # starts anew after each success
    assert hurried.batch_write_item.call_count == 8


@pytest.mark.parametrize(
    ("quota", "message"),
    [
        (0, "DynamoDB had no capacity for a batch of messages in 50 tries"),
        (refusal("ThrottlingException"), "DynamoDB had no capacity for a batch of messages in 50 tries"),
        (refusal("AccessDeniedException"), "AccessDeniedException"),
    ],
)
def test_lasting_refusal_stops_the_load(
    quota: int | ClientError, message: str, client: Any, contents: TableContents, pauses: list[int]
) -> None:
    refusing = limited(client, itertools.chain([25], itertools.repeat(quota)))
    with pytest.raises(StoreUnavailable, match=f"^{message}$"):
        load(refusing, plan(10_000))
    assert refusing.batch_write_item.call_count <= 1 + bulk._WINDOW * bulk._FRUITLESS_TRIES
    assert refusing.transact_write_items.call_count == 0
    assert len(contents.items()) == 25
    assert load(client, plan(60)) == 60


def test_requests_run_in_parallel_and_few_messages_are_in_memory(client: Any) -> None:
    all_threads = threading.Barrier(bulk._THREADS)
    begun: list[str] = []
    ended: list[str] = []
    created, written, most_ahead = itertools.count(1), 0, 0

    def lazily(messages: Iterable[NewMessage]) -> Iterator[NewMessage]:
        nonlocal most_ahead
        for message in messages:
            most_ahead = max(most_ahead, next(created) - written)
            yield message

    def begin(name: str) -> None:
        begun.append(name)
        if name == "batch_write_item" and begun.count(name) <= bulk._THREADS:
            all_threads.wait(timeout=10)
        if name == "transact_write_items":  # this waits for every batch
            assert ended.count("batch_write_item") == begun.count("batch_write_item") == 40

    def count(done: int) -> None:
        nonlocal written
        written = done

    conversation = plan(1_000)
    conversation = replace(conversation, messages=lazily(conversation.messages))
    assert load(HookedClient(client, begin, ended.append), conversation, on_progress=count) == 1_000
    assert most_ahead <= (bulk._WINDOW + 1) * 25 + 1


# Crashes


def crash_after(steps: int) -> Hook:
    """End the process, with all its threads, after so many steps: before and after each of its requests."""
    left = itertools.count(steps, -1)

    def step(name: str) -> None:
        if next(left) <= 0:
            raise Crashed

    return step


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and windows that make a short conversation a long one."""
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
            load(HookedClient(client, step, step), *several())
        except Crashed:
            for row in contents.inbox(ANNA):  # an inbox shows no message that is missing
                contents.check(row.group_uuid, texts(row.seq or 0))
            progress = [6] if contents.inbox(ANNA) else []
            added.append(load(client, *several(), on_progress=progress.append))
            assert 6 in progress  # with the messages of the interrupted load
            assert by_key(contents.items()) == whole
        else:
            break
    assert len(added) > 20
    assert {6, 4, 1, 0} <= set(added)  # the loader writes no whole window again


def test_next_load_writes_the_batches_that_later_ones_overtook(
    client: Any, contents: TableContents, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, overtaken = BulkLoader._put, threading.Event()

    def put_second_first(loader: BulkLoader, batch: Sequence[Message]) -> int:
        if batch[0].seq == 1:
            overtaken.wait(10)
            raise Crashed
        written = put(loader, batch)
        overtaken.set()
        return written

    monkeypatch.setattr(BulkLoader, "_put", put_second_first)
    with pytest.raises(Crashed):
        load(client, plan(5))
    assert [message.seq for message in contents.messages(GROUP)] == [2]
    monkeypatch.setattr(BulkLoader, "_put", put)
    load(client, plan(5))
    contents.check(GROUP, texts(5))
