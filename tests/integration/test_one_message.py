"""One message stays one message: what a sender is told is what is stored, whatever becomes of the engine's answers.

Every send goes through a proxy of its own. It carries out what it is told to and loses or garbles the answer, refuses
as DynamoDB does, or says nothing. All cases of a mode run at the same time.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

import pytest
from flask.testing import FlaskClient

from lib.aws.dynamodb_client import DynamoDBClient
from lib.config import DynamoDBSettings
from lib.ddb.errors import StoreUnavailable, WriteConflict
from lib.ddb.idempotency import DuplicateRequest, Idempotency
from lib.ddb.items import Message
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.store import MessageStore
from lib.ddb.table import Table
from lib.users.directory import User
from tests.support.api import Api, refused, run_api
from tests.support.proxy import Fault, LossyProxy, Say, Seen, Stall
from tests.support.stores import TableContents, stores_on
from tests.support.streamed import streamed_stores_on

SECONDS = 2.5  # the deadline of a send; half of the usual one
LATEST = SECONDS + 2  # and some slack
AT_ONCE = 48
CREATED_AT = re.compile(rb'"pk": ?{"S": ?"MSG#[^}]+}, ?"sk": ?{"S": ?"([^"]+)')  # of the message that is written
WRITES = {"PutItem", "TransactWriteItems"}

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lib.ddb.store.WRITE_SECONDS", "lib.ddb.table.WRITE_SECONDS"):
        monkeypatch.setattr(name, SECONDS)
    monkeypatch.setattr("lib.aws.dynamodb_client.TRY_SECONDS", SECONDS / 2.5)


# What the proxy says in the engine's place.


def said(status: int, content: bytes, *headers: str, length: int | None = None) -> bytes:
    """An answer as it travels. With a `length` that is not its own, the connection ends with it."""
    lines = [f"HTTP/1.1 {status} So", "Content-Type: application/x-amz-json-1.0", *headers]
    lines += [f"Content-Length: {length or len(content)}", *(["Connection: close"] if length else [])]
    return "\r\n".join([*lines, "", ""]).encode() + content


def error(status: int, code: str) -> Say:
    """A refusal; nothing was done."""
    content = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "made up by a test"})
    return lambda body, engine: said(status, content.encode())


def cancelled(code: str) -> Say:
    """A transaction that was cancelled because of its second item; nothing was done."""

    def say(body: bytes, engine: Callable[[], bytes]) -> bytes:
        reasons = [{"Code": "None"} for _ in json.loads(body)["TransactItems"]]
        reasons[1] = {"Code": code, "Message": "made up by a test"}
        content = {"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "message": "no"}
        return said(400, json.dumps({**content, "CancellationReasons": reasons}).encode())

    return say


def garbled(make: Callable[[bytes], bytes]) -> Say:
    """The engine has done it, and its answer's content becomes another answer."""
    return lambda body, engine: make(engine().partition(b"\r\n\r\n")[2])


def unsent(broken: Say) -> Say:
    """The same said by somebody in between: the engine has not seen the request."""
    return lambda body, engine: broken(body, lambda: b"\r\n\r\n{}")


LOST = garbled(lambda content: b"")
ANYWHERE = {
    "throttling": error(400, "ThrottlingException"),
    "capacity": error(400, "ProvisionedThroughputExceededException"),
    "internal": error(500, "InternalServerError"),
}
REFUSALS = {
    "TransactWriteItems": {
        "in-progress": error(400, "TransactionInProgressException"),  # of a try before it, under the same token
        "conflict": cancelled("TransactionConflict"),
        "throttled-item": cancelled("ThrottlingError"),
        **ANYWHERE,
    },
    "PutItem": {"conflict": error(400, "TransactionConflictException"), **ANYWHERE},
}
BROKEN = {  # tests/integration/test_dynamodb_client.py has every kind
    "html-403": garbled(lambda content: said(403, b"<html><body>A gateway says so</body></html>")),
    "cut": garbled(lambda content: said(200, content[: len(content) // 2], length=len(content))),
    "wrong-crc": garbled(lambda content: said(200, content, f"x-amz-crc32: {crc32(content + b' ')}")),
}
UNSENT = {f"unsent-{name}": unsent(broken) for name, broken in BROKEN.items()}
NAMES: dict[Fault | None, str] = {
    fault: name
    for faults in (BROKEN, UNSENT, *REFUSALS.values(), {"lost": LOST}, {stall.name: stall for stall in Stall})
    for name, fault in faults.items()
}
APPLIED = {LOST, *Stall, *BROKEN.values()}  # done, and the sender cannot know


@dataclass(frozen=True)
class Way:
    """How a message is sent."""

    streamed: bool
    first: bool
    with_key: bool

    @property
    def operation(self) -> str:
        return "PutItem" if self.streamed and not self.first and not self.with_key else "TransactWriteItems"

    def __str__(self) -> str:
        words = ["stream" if self.streamed else "inline", "first" if self.first else "existing"]
        return "-".join([*words, "key"] if self.with_key else words)


@dataclass(frozen=True)
class Case:
    """What happens to the tries of one send: `faults`, then `lasting` for so long; and what the sender may be told."""

    name: str
    way: Way
    faults: tuple[Fault, ...] = ()
    lasting: Fault | None = None
    seconds: float = 60
    everything: bool = False  # the reads as well
    told: tuple[type, ...] = (Message,)

    def choose(self) -> Callable[[str], Fault | None]:
        faults, end = iter(self.faults), time.monotonic() + self.seconds

        def choose(operation: str) -> Fault | None:
            if not self.everything and operation not in WRITES:
                return None
            return next(faults, self.lasting if time.monotonic() < end else None)

        return choose

    def __str__(self) -> str:
        return f"{self.way}-{self.name}"


EITHER, BUSY, AWAY = (Message, StoreUnavailable), (WriteConflict,), (StoreUnavailable,)


def cases_of(way: Way) -> Iterator[Case]:
    refusals = REFUSALS[way.operation]
    conflict = refusals["conflict"]
    for name, refusal in refusals.items():
        yield Case(f"lost-{name}", way, (LOST, refusal))
        yield Case(f"lost-{name}x8", way, (LOST, *[refusal] * 8), told=EITHER)
    for name, broken in (BROKEN if way.with_key else BROKEN | UNSENT).items():
        yield Case(name, way, (broken,))
        if not (way.with_key or way.first):
            yield Case(f"{name}x8", way, (broken,) * 8, told=EITHER)
    yield Case("conflictx8", way, (conflict,) * 8)
    yield Case("conflict-1s", way, lasting=conflict, seconds=1)
    yield Case("conflict-lasting", way, lasting=conflict, told=BUSY)
    yield Case("lost-conflict-lasting", way, (LOST,), conflict, told=EITHER)
    yield Case("throttling-lasting", way, lasting=refusals["throttling"], told=AWAY)
    for stall in Stall:
        yield Case(f"{stall.name}-writes".lower(), way, lasting=stall, told=EITHER)
        yield Case(f"{stall.name}-all".lower(), way, lasting=stall, everything=True, told=AWAY)


@dataclass(frozen=True)
class Outcome:
    """What a sender was told, when and after how long, what came by at the proxy, and what is stored."""

    text: str
    told: Message | Exception
    at: datetime
    took: float
    seen: list[Seen]
    stored: list[Message] = field(default_factory=list)

    @property
    def writes(self) -> list[Seen]:
        return [each for each in self.seen if each.operation in WRITES]

    def __str__(self) -> str:
        came = [f"{each.operation}: {NAMES.get(each.fault, 'answered')}" for each in self.seen]
        return "\n  ".join([f"told {self.told!r} after {self.took:.1f} s, {len(self.stored)} stored, of", *came])


@contextmanager
def behind(engine_url: str) -> Iterator[tuple[LossyProxy, Any]]:
    """A proxy, and the program's own client of it."""
    region = os.environ["AWS_DEFAULT_REGION"]
    with LossyProxy(engine_url) as proxy:
        settings = DynamoDBSettings(aws_default_region=region, aws_endpoint_url_dynamodb=proxy.url)
        with closing(DynamoDBClient(settings)) as client:
            yield proxy, client


def store_of(client: Any, table: str, *, streamed: bool = False) -> MessageStore:
    return (streamed_stores_on if streamed else stores_on)(client, table)()


def couple() -> tuple[User, User]:
    return User(str(uuid.uuid4()), "anna", "Anna"), User(str(uuid.uuid4()), "bert", "Bert")


def messages_in(client: Any, table: str) -> list[Message]:
    found = [(item["pk"]["S"].partition("MSG#")[2], item) for item in TableContents(client, table).items()]
    return [Message.from_item(item, group_uuid=group) for group, item in found if group]


def attempt(send: Callable[[], Message]) -> Message | Exception:
    """The message, or why there is none. What its own receipt answers with counts as sent, as for the API's clients."""
    try:
        return send()
    except DuplicateRequest as sent:
        return sent.receipt.answer
    except Exception as failure:
        return failure


def play(case: Case, engine_url: str, engine: Any, table: str) -> Outcome:
    anna, bert = couple()
    options: dict[str, Any] = {"sender": anna, "text": str(uuid.uuid4())}
    if case.way.with_key:
        options["idempotency"] = Idempotency(str(uuid.uuid4()), "a hash")
    with behind(engine_url) as (proxy, client):
        store = store_of(client, table, streamed=case.way.streamed)
        send: Callable[[], Message] = lambda: store.send_to_user(receiver=bert, **options)  # noqa: E731
        if not case.way.first:
            group = store_of(engine, table).send_to_user(sender=bert, receiver=anna, text="hello").group_uuid
            send = lambda: store.send(group_uuid=group, **options)  # noqa: E731
        proxy.choose, began = case.choose(), time.monotonic()
        told = attempt(send)
        return Outcome(options["text"], told, datetime.now(UTC), time.monotonic() - began, proxy.seen)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_sender_is_told_what_is_stored(streamed: bool, dynamodb_url: str, dynamodb_client: Any, table: str) -> None:
    for _ in range(20):  # an engine that has just started takes seconds for what is milliseconds later
        anna, bert = couple()
        store_of(dynamodb_client, table).send_to_user(sender=anna, receiver=bert, text="warm")
    ways = [Way(streamed, first, with_key) for first, with_key in itertools.product([False, True], repeat=2)]
    cases = sorted(itertools.chain(*map(cases_of, ways)), key=lambda case: case.lasting is None)  # the longest first
    with ThreadPoolExecutor(AT_ONCE) as threads:
        played = list(threads.map(lambda case: play(case, dynamodb_url, dynamodb_client, table), cases))
    by_text = {outcome.text: outcome for outcome in played}
    for message in messages_in(dynamodb_client, table):
        if message.text in by_text:
            by_text[message.text].stored.append(message)
    wrong = {}
    for case, outcome in zip(cases, played, strict=True):
        if problems := [*wrong_of_what_was_told(case, outcome), *wrong_of_the_tries(case, outcome)]:
            wrong[str(case)] = [*problems, str(outcome)]
        elif isinstance(outcome.told, Message) and not streamed:
            hello = [] if case.way.first else ["hello"]
            TableContents(dynamodb_client, table).check(outcome.told.group_uuid, [*hello, outcome.text])
    assert wrong == {}


def wrong_of_what_was_told(case: Case, outcome: Outcome) -> Iterator[str]:
    told, stored = outcome.told, outcome.stored
    if not isinstance(told, case.told):
        yield f"not {' or '.join(each.__name__ for each in case.told)}, but {told!r}"
    if len(stored) > 1:
        yield f"it is stored {len(stored)} times"
    if isinstance(told, Message) and told not in stored:
        yield f"what is acknowledged is not what is stored: {stored}"
    if isinstance(told, Message) and (outcome.at - datetime.fromisoformat(told.created_at)).total_seconds() > LATEST:
        yield f"acknowledged at {outcome.at}, created at {told.created_at}"
    if isinstance(told, WriteConflict) and stored:
        yield "it is stored"
    after = itertools.dropwhile(lambda each: each.fault not in APPLIED, outcome.seen)
    if isinstance(told, Exception) and any(each.fault is None for each in after):
        yield "the engine answered after it was stored, and yet it is not acknowledged"


def wrong_of_the_tries(case: Case, outcome: Outcome) -> Iterator[str]:
    if outcome.took > LATEST:
        yield f"they took {outcome.took:.1f} s"
    bodies = [json.loads(each.body) for each in outcome.writes if each.operation == "TransactWriteItems"]
    pairs = {(body.pop("ClientRequestToken"), json.dumps(body, sort_keys=True)) for body in bodies}
    tokens, writes = (len(set(each)) for each in zip(*pairs, strict=True)) if pairs else (0, 0)
    if not tokens == writes == len(pairs):
        yield f"{tokens} tokens for {writes} sets of writes"
    # The sort key of the one message that each writes.
    times = [CREATED_AT.findall(each.body)[0] for each in outcome.writes]
    if case.name == "conflict-1s" and times != sorted(set(times)):
        yield f"{len(times)} tries with {len(set(times))} created_at, in spite of refusals"


@pytest.mark.parametrize(("mode", "operation"), [("inline", "TransactWriteItems"), ("stream", "PutItem")])
def test_the_api_says_the_same(api: Api, mode: str, operation: str) -> None:
    """Inline it is each couple's first message, in stream mode one of an existing conversation."""
    conflict, away = REFUSALS[operation]["conflict"], (503, ["storage_unavailable"])
    plans: dict[str, tuple[list[Say], list[Any]]] = {
        "lost, a conflict": ([LOST, conflict], [200]),
        "lost, eight conflicts": ([LOST, *[conflict] * 8], [200, away]),
        "lost, throttled eight times": ([LOST, *[ANYWHERE["throttling"]] * 8], [200, away]),
        **{name: ([broken], [200]) for name, broken in BROKEN.items()},
        "html-403 for ever": ([BROKEN["html-403"]] * 999, [200, away]),
        "lost, conflicts for ever": ([LOST, *[conflict] * 999], [200, away]),
        "conflicts for ever": ([conflict] * 999, [(503, ["conversation_busy"])]),
    }
    left = {name: iter(faults) for name, (faults, _) in plans.items()}

    def say(body: bytes, engine: Callable[[], bytes]) -> bytes:
        (name,) = [name for name in plans if f'"{mode}: {name}"'.encode() in body]
        fault = next(left[name], None)
        return fault(body, engine) if fault else engine()

    def post(name: str) -> Any:
        anna, bert = far.couple()
        to = {"handle": bert.user.handle}
        if mode == "stream":
            to = {"message_group_uuid": api.sign_in(bert.user).write("hello", to=anna)["message_group_uuid"]}
        body = {"message": f"{mode}: {name}", **to}
        answer = far.app.test_client().post("/api/messages", json=body, headers=anna.headers)
        return 200 if answer.status_code == 200 else refused(answer)

    engine_url = str(api.settings.aws_endpoint_url_dynamodb)
    with LossyProxy(engine_url) as proxy, api.variant(aws_endpoint_url_dynamodb=proxy.url, group_updates=mode) as far:
        far.app.test_client_class = FlaskClient  # it shows a 500 as it is
        proxy.choose = lambda asked: say if asked in WRITES else None
        with ThreadPoolExecutor(8) as threads:
            told = dict(zip(plans, threads.map(post, plans), strict=True))
    stored = Counter(item["message"]["S"] for item in api.items() if item["pk"]["S"].startswith("MSG#"))
    wrong = {}
    for name, (_, allowed) in plans.items():
        times = stored[f"{mode}: {name}"]
        possible = {200: {1}, str(away): {0, 1}}.get(told[name] if told[name] == 200 else str(told[name]), {0})
        if told[name] not in allowed or times not in possible:
            wrong[name] = f"told {told[name]}, stored {times} times"
    assert wrong == {}


@pytest.mark.parametrize("mode", ["inline", "stream"])
def test_sixty_four_senders_behind_a_bad_network(
    mode: str, dynamodb_url: str, dynamodb_client: Any, table: str
) -> None:
    """Eight threads in each of two processes' memories; a tenth of the answers is lost, a tenth refused."""
    chance = random.Random(16)  # noqa: S311
    couples = [couple() for _ in range(9)]
    store_of(dynamodb_client, table).send_to_user(sender=couples[8][0], receiver=couples[8][1], text="hello")

    def fault(operation: str) -> Fault | None:
        drawn = chance.random()
        if drawn < 0.1:
            return LOST
        return REFUSALS[operation]["conflict"] if drawn < 0.2 and operation in WRITES else None

    def send(store: MessageStore, sender: User, receiver: User, text: str) -> tuple[str, Message | Exception]:
        return text, attempt(lambda: store.send_to_user(sender=sender, receiver=receiver, text=text))

    began = time.monotonic()
    with behind(dynamodb_url) as (proxy, one), behind(dynamodb_url) as (other_proxy, two):
        proxy.choose = other_proxy.choose = fault
        stores = [store_of(each, table, streamed=mode == "stream") for each in (one, two)]
        with ThreadPoolExecutor(8) as here, ThreadPoolExecutor(8) as there:
            sending = []
            for number in range(32):  # both sides of eight couples begin at once; the ninth talks already
                anna, bert = couples[number // 2] if number < 16 else couples[8]
                sending.append(here.submit(send, stores[0], anna, bert, f"here-{number}"))
                sending.append(there.submit(send, stores[1], bert, anna, f"there-{number}"))
        told = dict(each.result() for each in sending)
    assert time.monotonic() - began < 15

    failed = {text: repr(each) for text, each in told.items() if isinstance(each, Exception)}
    assert [each for each in told.values() if not isinstance(each, Message | WriteConflict | StoreUnavailable)] == []
    stored = messages_in(dynamodb_client, table)
    acknowledged = {(each.text, each.uuid, each.created_at) for each in told.values() if isinstance(each, Message)}
    assert acknowledged <= {(each.text, each.uuid, each.created_at) for each in stored}
    unknown = {text for text, each in told.items() if isinstance(each, StoreUnavailable)}
    extra = Counter(each.text for each in stored) - Counter(["hello", *(text for text, *_ in acknowledged), *unknown])
    assert extra == Counter(), failed
    assert len({each.group_uuid for each in stored}) == len(couples)
    assert len(acknowledged) > 48, failed
    for group_uuid in {each.group_uuid for each in stored}:
        here_stored = [each for each in stored if each.group_uuid == group_uuid]
        if mode == "stream":
            SequenceNumbers(Table(dynamodb_client, table)).update(group_uuid, here_stored)
        TableContents(dynamodb_client, table).check(group_uuid, [each.text for each in here_stored])
