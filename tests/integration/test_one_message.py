"""One send stores at most one message, and the sender learns the truth, whatever happens to the engine's responses.

Every send goes through a proxy of its own. The proxy loses or garbles the engine's response, refuses as DynamoDB does,
or stays silent. All cases of a mode run at the same time.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import time
import uuid
from collections import Counter, defaultdict
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
from lib.ddb.table import WRITE_SECONDS, Table
from lib.users.accounts import User
from tests.support.api import Api, refused, run_api
from tests.support.proxy import FakeResponse, Fault, LossyProxy, Request, Stall
from tests.support.stores import TableContents, stores_on
from tests.support.streamed import streamed_stores_on

LATEST_SECONDS = WRITE_SECONDS + 2  # with slack for a slow machine
QUICK_AT_ONCE = 10  # more would make DynamoDB Local slower than a try may take
CREATED_AT = re.compile(rb'"pk": ?{"S": ?"MSG#[^}]+}, ?"sk": ?{"S": ?"([^"]+)')  # of the message that is written
WRITES = {"PutItem", "TransactWriteItems"}

api = pytest.fixture(scope="module")(run_api)


def http_response(status: int, content: bytes, *headers: str, length: int | None = None) -> bytes:
    """A response as bytes. With another `length` than its own, it closes the connection."""
    lines = [f"HTTP/1.1 {status} So", "Content-Type: application/x-amz-json-1.0", *headers]
    lines += [f"Content-Length: {length or len(content)}", *(["Connection: close"] if length else [])]
    return "\r\n".join([*lines, "", ""]).encode() + content


def error(status: int, code: str) -> FakeResponse:
    """A refusal; nothing was done."""
    content = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "made up by a test"})
    return lambda body, engine: http_response(status, content.encode())


def cancelled(code: str) -> FakeResponse:
    """A transaction that was cancelled because of its second item; nothing was done."""

    def respond(body: bytes, engine: Callable[[], bytes]) -> bytes:
        reasons = [{"Code": "None"} for _ in json.loads(body)["TransactItems"]]
        reasons[1] = {"Code": code, "Message": "made up by a test"}
        content = {"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "message": "no"}
        return http_response(400, json.dumps({**content, "CancellationReasons": reasons}).encode())

    return respond


def garbled(make: Callable[[bytes], bytes]) -> FakeResponse:
    """The engine handles the request; `make` turns its response's content into another response."""
    return lambda body, engine: make(engine().partition(b"\r\n\r\n")[2])


def unsent(broken: FakeResponse) -> FakeResponse:
    """The same response from a gateway: the request never reaches the engine."""
    return lambda body, engine: broken(body, lambda: b"\r\n\r\n{}")


LOST = garbled(lambda content: b"")
ANYWHERE = {
    "throttling": error(400, "ThrottlingException"),
    "capacity": error(400, "ProvisionedThroughputExceededException"),
    "internal": error(500, "InternalServerError"),
}
REFUSALS = {
    "TransactWriteItems": {
        "in-progress": error(400, "TransactionInProgressException"),  # an earlier try has the same token
        "conflict": cancelled("TransactionConflict"),
        "throttled-item": cancelled("ThrottlingError"),
        **ANYWHERE,
    },
    "PutItem": {"conflict": error(400, "TransactionConflictException"), **ANYWHERE},
}
BROKEN = {  # tests/integration/test_dynamodb_client.py has every kind
    "html-403": garbled(lambda content: http_response(403, b"<html><body>From a gateway</body></html>")),
    "cut": garbled(lambda content: http_response(200, content[: len(content) // 2], length=len(content))),
    "wrong-crc": garbled(lambda content: http_response(200, content, f"x-amz-crc32: {crc32(content + b' ')}")),
}
UNSENT = {f"unsent-{name}": unsent(broken) for name, broken in BROKEN.items()}
NAMES: dict[Fault | None, str] = {
    fault: name
    for faults in (BROKEN, UNSENT, *REFUSALS.values(), {"lost": LOST}, {stall.name: stall for stall in Stall})
    for name, fault in faults.items()
}
APPLIED = {LOST, *Stall, *BROKEN.values()}  # written, and the sender cannot know


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
    """The faults of a send's tries (`faults`, then `lasting` for `seconds`), and the results allowed for it."""

    name: str
    way: Way
    faults: tuple[Fault, ...] = ()
    lasting: Fault | None = None
    seconds: float = 60
    reads_too: bool = False
    results: tuple[type, ...] = (Message,)

    def choose(self) -> Callable[[str], Fault | None]:
        faults, end = iter(self.faults), time.monotonic() + self.seconds

        def choose(operation: str) -> Fault | None:
            if not self.reads_too and operation not in WRITES:
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
        yield Case(f"lost-{name}x8", way, (LOST, *[refusal] * 8), results=EITHER)
    for name, broken in (BROKEN if way.with_key else BROKEN | UNSENT).items():
        yield Case(name, way, (broken,))
        if not (way.with_key or way.first):
            yield Case(f"{name}x8", way, (broken,) * 8, results=EITHER)
    yield Case("conflictx8", way, (conflict,) * 8)
    yield Case("conflict-1s", way, lasting=conflict, seconds=1)
    yield Case("conflict-lasting", way, lasting=conflict, results=BUSY)
    yield Case("lost-conflict-lasting", way, (LOST,), conflict, results=EITHER)
    yield Case("throttling-lasting", way, lasting=refusals["throttling"], results=AWAY)
    for stall in Stall:
        yield Case(f"{stall.name}-writes".lower(), way, lasting=stall, results=EITHER)
        yield Case(f"{stall.name}-all".lower(), way, lasting=stall, reads_too=True, results=AWAY)


@dataclass(frozen=True)
class Outcome:
    """The result of a send, its requests and the stored messages. It took `seconds` from `began` (monotonic clock)."""

    text: str
    result: Message | Exception
    ended: datetime
    began: float
    seconds: float
    requests: list[Request]
    stored: list[Message] = field(default_factory=list)

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.operation in WRITES]

    def __str__(self) -> str:
        lines = [
            f"{request.operation}: {NAMES.get(request.fault, 'response')} at {request.responded_at - self.began:.1f} s"
            for request in self.requests
        ]
        return "\n  ".join([f"{self.result!r} after {self.seconds:.1f} s, {len(self.stored)} stored, of", *lines])


@contextmanager
def proxied_client(engine_url: str) -> Iterator[tuple[LossyProxy, Any]]:
    """A proxy in front of the engine, and the API's client of the proxy."""
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
    items = TableContents(client, table).items()
    return [Message.from_item(item) for item in items if item["pk"]["S"].startswith("MSG#")]


def attempt(send: Callable[[], Message]) -> Message | Exception:
    """The message, or the error. A receipt's message counts as sent, as it does for the API's clients."""
    try:
        return send()
    except DuplicateRequest as duplicate:
        return duplicate.receipt.message
    except Exception as failure:
        return failure


def play(case: Case, engine_url: str, engine: Any, table: str) -> Outcome:
    anna, bert = couple()
    options: dict[str, Any] = {"sender": anna, "text": str(uuid.uuid4())}
    if case.way.with_key:
        options["idempotency"] = Idempotency(str(uuid.uuid4()), "a hash")
    with proxied_client(engine_url) as (proxy, client):
        store = store_of(client, table, streamed=case.way.streamed)
        send: Callable[[], Message] = lambda: store.send_to_user(receiver=bert, **options)  # noqa: E731
        if not case.way.first:
            group = store_of(engine, table).send_to_user(sender=bert, receiver=anna, text="hello").group_uuid
            send = lambda: store.send(group_uuid=group, **options)  # noqa: E731
        proxy.choose, began = case.choose(), time.monotonic()
        result = attempt(send)
        return Outcome(options["text"], result, datetime.now(UTC), began, time.monotonic() - began, proxy.requests)


@pytest.mark.parametrize("streamed", [False, True])
def test_result_of_a_send_says_whether_the_message_is_stored(
    streamed: bool, dynamodb_url: str, dynamodb_client: Any, table: str
) -> None:
    for _ in range(20):  # a new engine's first transactions take seconds
        anna, bert = couple()
        store_of(dynamodb_client, table).send_to_user(sender=anna, receiver=bert, text="warm")
    ways = [Way(streamed, first, with_key) for first, with_key in itertools.product([False, True], repeat=2)]
    cases = list(itertools.chain(*map(cases_of, ways)))
    lasting, quick = [case for case in cases if case.lasting], [case for case in cases if not case.lasting]
    outcomes: dict[Case, Outcome] = {}
    for group, threads in ((lasting, len(lasting)), (quick, QUICK_AT_ONCE)):
        with ThreadPoolExecutor(threads) as pool:
            results = pool.map(lambda case: play(case, dynamodb_url, dynamodb_client, table), group)
            outcomes |= zip(group, results, strict=True)
    by_text = {outcome.text: outcome for outcome in outcomes.values()}
    for message in messages_in(dynamodb_client, table):
        if message.text in by_text:
            by_text[message.text].stored.append(message)
    wrong = {}
    for case, outcome in outcomes.items():
        if problems := [*errors_of_result(case, outcome), *errors_of_tries(case, outcome)]:
            wrong[str(case)] = [*problems, str(outcome)]
        elif isinstance(outcome.result, Message) and not streamed:
            hello = [] if case.way.first else ["hello"]
            TableContents(dynamodb_client, table).check(outcome.result.group_uuid, [*hello, outcome.text])
    assert wrong == {}


def errors_of_result(case: Case, outcome: Outcome) -> Iterator[str]:
    result, stored = outcome.result, outcome.stored
    if not isinstance(result, case.results):
        yield f"not {' or '.join(kind.__name__ for kind in case.results)}, but {result!r}"
    if len(stored) > 1:
        yield f"it is stored {len(stored)} times"
    if isinstance(result, Message) and result not in stored:
        yield f"the acknowledged message is not the stored one: {stored}"
    if isinstance(result, Message):
        age = (outcome.ended - datetime.fromisoformat(result.created_at)).total_seconds()
        if age > LATEST_SECONDS:
            yield f"acknowledged {age:.1f} s after its created_at"
    if isinstance(result, WriteConflict) and stored:
        yield "it is stored"
    # A response near the deadline may reach the sender too late.
    in_time = outcome.began + WRITE_SECONDS / 2
    later = itertools.dropwhile(lambda request: request.fault not in APPLIED, outcome.requests)
    if isinstance(result, Exception) and any(not request.fault and request.responded_at < in_time for request in later):
        yield "the engine responded after the message was stored, and yet the sender got an error"


def errors_of_tries(case: Case, outcome: Outcome) -> Iterator[str]:
    if outcome.seconds > LATEST_SECONDS:
        yield f"they took {outcome.seconds:.1f} s"
    bodies = [json.loads(request.body) for request in outcome.writes if request.operation == "TransactWriteItems"]
    pairs = {(body.pop("ClientRequestToken"), json.dumps(body, sort_keys=True)) for body in bodies}
    tokens, writes = (len(set(column)) for column in zip(*pairs, strict=True)) if pairs else (0, 0)
    if not tokens == writes == len(pairs):
        yield f"{tokens} tokens for {writes} sets of writes"
    if case.name == "conflict-1s":
        for request, following in itertools.pairwise(outcome.writes):
            if request.fault and created_at(following) <= created_at(request):
                yield f"the try after a refusal has no later created_at: {created_at(following)}"


@pytest.mark.parametrize(("mode", "operation"), [("inline", "TransactWriteItems"), ("stream", "PutItem")])
def test_api_response_says_whether_the_message_is_stored(api: Api, mode: str, operation: str) -> None:
    """Inline, each couple sends its first message; in stream mode, one in an existing conversation."""
    conflict, away = REFUSALS[operation]["conflict"], (503, ["storage_unavailable"])
    plans: dict[str, tuple[list[FakeResponse], list[Any]]] = {
        "lost, a conflict": ([LOST, conflict], [200]),
        "lost, eight conflicts": ([LOST, *[conflict] * 8], [200, away]),
        "lost, throttled eight times": ([LOST, *[ANYWHERE["throttling"]] * 8], [200, away]),
        **{name: ([broken], [200]) for name, broken in BROKEN.items()},
        "html-403 for ever": ([BROKEN["html-403"]] * 999, [200, away]),
        "lost, conflicts for ever": ([LOST, *[conflict] * 999], [200, away]),
        "conflicts for ever": ([conflict] * 999, [(503, ["conversation_busy"])]),
    }
    left = {name: iter(faults) for name, (faults, _) in plans.items()}

    def respond(body: bytes, engine: Callable[[], bytes]) -> bytes:
        (name,) = [name for name in plans if f'"{mode}: {name}"'.encode() in body]
        fault = next(left[name], None)
        return fault(body, engine) if fault else engine()

    def post(name: str) -> Any:
        anna, bert = far.couple()
        to = {"handle": bert.user.handle}
        if mode == "stream":
            to = {"message_group_uuid": api.sign_in(bert.user).write("hello", to=anna)["message_group_uuid"]}
        body = {"message": f"{mode}: {name}", **to}
        response = far.app.test_client().post("/api/messages", json=body, headers=anna.headers)
        return 200 if response.status_code == 200 else refused(response)

    engine_url = str(api.settings.aws_endpoint_url_dynamodb)
    with LossyProxy(engine_url) as proxy, api.variant(aws_endpoint_url_dynamodb=proxy.url, group_updates=mode) as far:
        far.app.test_client_class = FlaskClient  # it shows a 500 as it is
        proxy.choose = lambda operation: respond if operation in WRITES else None
        with ThreadPoolExecutor(8) as threads:
            results = dict(zip(plans, threads.map(post, plans), strict=True))
    stored = Counter(item["message"]["S"] for item in api.items() if item["pk"]["S"].startswith("MSG#"))
    wrong = {}
    for name, (_, allowed) in plans.items():
        times = stored[f"{mode}: {name}"]
        possible = {1} if results[name] == 200 else {0, 1} if results[name] == away else {0}
        if results[name] not in allowed or times not in possible:
            wrong[name] = f"{results[name]}, stored {times} times"
    assert wrong == {}


@pytest.mark.parametrize("mode", ["inline", "stream"])
def test_send_over_a_bad_network_stores_at_most_one_message(
    mode: str, dynamodb_url: str, dynamodb_client: Any, table: str
) -> None:
    """Two stores with eight threads each; a tenth of the responses is lost, a tenth is refused."""
    chance = random.Random(16)  # noqa: S311
    couples = [couple() for _ in range(9)]
    store_of(dynamodb_client, table).send_to_user(sender=couples[8][0], receiver=couples[8][1], text="hello")

    def fault(operation: str) -> Fault | None:
        draw = chance.random()
        if draw < 0.1:
            return LOST
        return REFUSALS[operation]["conflict"] if draw < 0.2 and operation in WRITES else None

    def send(store: MessageStore, sender: User, receiver: User, text: str) -> tuple[str, Message | Exception]:
        return text, attempt(lambda: store.send_to_user(sender=sender, receiver=receiver, text=text))

    began = time.monotonic()
    with proxied_client(dynamodb_url) as (proxy, one), proxied_client(dynamodb_url) as (other_proxy, two):
        proxy.choose = other_proxy.choose = fault
        stores = [store_of(client, table, streamed=mode == "stream") for client in (one, two)]
        with ThreadPoolExecutor(8) as first_pool, ThreadPoolExecutor(8) as second_pool:
            sends = []
            for number in range(32):  # both sides of eight couples begin at once; the ninth has a conversation
                anna, bert = couples[number // 2] if number < 16 else couples[8]
                sends.append(first_pool.submit(send, stores[0], anna, bert, f"anna-{number}"))
                sends.append(second_pool.submit(send, stores[1], bert, anna, f"bert-{number}"))
        results = dict(future.result() for future in sends)
    assert time.monotonic() - began < 15

    failed = {text: repr(result) for text, result in results.items() if isinstance(result, Exception)}
    assert all(isinstance(result, Message | WriteConflict | StoreUnavailable) for result in results.values()), failed
    stored = messages_in(dynamodb_client, table)
    acknowledged = [result for result in results.values() if isinstance(result, Message)]
    assert {identity(message) for message in acknowledged} <= {identity(message) for message in stored}
    unknown = {text for text, result in results.items() if isinstance(result, StoreUnavailable)}
    expected = Counter(["hello", *(message.text for message in acknowledged), *unknown])
    assert Counter(message.text for message in stored) - expected == Counter(), failed
    by_group = defaultdict(list)
    for message in stored:
        by_group[message.group_uuid].append(message)
    assert len(by_group) == len(couples)
    assert len(acknowledged) > 48, failed
    for group_uuid, messages in by_group.items():
        if mode == "stream":
            SequenceNumbers(Table(dynamodb_client, table)).update(group_uuid, messages)
        TableContents(dynamodb_client, table).check(group_uuid, [message.text for message in messages])


def created_at(request: Request) -> bytes:
    """The sort key of the one message that a request writes."""
    sort_key: bytes = CREATED_AT.findall(request.body)[0]
    return sort_key


def identity(message: Message) -> tuple[str, str, str]:
    return message.text, message.uuid, message.created_at
