"""The scenarios: the conversations in the table, the requests of each subject, and the server's workers and clients."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from lib.clock import to_timestamp
from lib.ddb import keys
from lib.ddb.cursors import CursorSigner
from lib.users.accounts import User
from tools.local_stack.tokens import SigningKey, access_claims
from tools.seed.bulk import NewConversation, NewMessage

MESSAGES, INBOX, SEND, PROCESSES, MANY_CLIENTS = "messages", "inbox", "send", "processes", "many-clients"
LIVE, FLOOD, STARTUP = "live", "flood", "startup"
SMALL, _, LARGE = SIZES = ("small", "medium", "large")
NAIVE, FLOOR, FAR, LOOP, MIXED, BUSY = "naive", "floor", "far", "loop", "mixed", "busy"
KEY, ISSUER, CLIENT_ID = SigningKey.generate("bench"), "http://127.0.0.1", "bench"  # of the tokens
SECRET_KEY = "the benchmark's, which signs the cursors"  # noqa: S105

_NEWEST = datetime(2026, 1, 4, 19, 0, tzinfo=UTC)
_TEXT = "Message {}: as long as one that people write in the evening."  # a page of 21 rows costs two read units
_PAGE = 20  # rows
_SENDERS = 100  # of the short conversations, so that a sender has about twenty of them
# The subjects of the scenario live, and how many streams are open at once.
NONE, MANY = "0 streams", "1,000 streams"
STREAMS = {"1 stream": 1, "100 streams": 100, MANY: 1_000}
HOUR, IDLE, CONSTANT = "1,000 streams, second half of an hour", "1,000 streams, no messages", "plain server, "
OTHERS, BESIDE = "0 streams, messages to others", "1,000 streams, messages to others"

# The subjects of the scenario flood.
ALONE, BESIDE_FLOOD, FLOODER = "calm users alone", "calm users beside a flood", "the flood"

_LISTENED = 300  # conversations at least, for each number of streams; a process writes to each of them rarely
_FEW = 32  # conversations; a single process writes to each of them several times a second


class Scale(NamedTuple):
    """The size of a run. It has `rounds`, in which each subject runs for `seconds`.

    `messages` and `rows` are the lengths of the conversations and inboxes that clients read, by size. `page` is the
    number of the far page. `short` is the number of conversations that clients write to. Live updates are measured with
    `live` messages, `hour` messages without a pause, and `idle` seconds, a flood with `calm` requests of other users.
    """

    messages: tuple[int, int, int]
    rows: tuple[int, int, int]
    page: int
    short: int = 2_000
    rounds: int = 5
    seconds: int = 3
    live: int = 1_000
    hour: int = 3_600
    idle: int = 31
    calm: int = 500


FULL = Scale((100, 10_000, 1_000_000), (20, 1_000, 20_000), page=1_000)
QUICK = Scale(
    (100, 1_000, 10_000), (20, 200, 2_000), page=100, rounds=3, seconds=1, live=300, hour=900, idle=5, calm=200
)

# The handles of conversations' members. The first member reads and sends.
Pair = tuple[str, str]
_READ: dict[str, Pair] = {size: ("reader", f"writer-{size}") for size in SIZES}
_BUSY: Pair = ("busy-one", "busy-two")


def _short(scale: Scale) -> list[Pair]:
    return [(f"sender-{number % _SENDERS}", f"partner-{number}") for number in range(scale.short)]


def _listened(streams: int) -> list[Pair]:
    """The conversations of the users who have a stream, if so many are open."""
    numbers = range(max(streams, _LISTENED))
    return [(f"caller-{streams}-{number // streams}", f"listener-{streams}-{number % streams}") for number in numbers]


def conversations(scale: Scale) -> Iterator[NewConversation]:
    """All conversations of the table. The small inbox belongs to the user "small", and so on."""
    for pair, count in zip(_READ.values(), scale.messages, strict=True):
        yield _conversation(pair, count)
    for pair in (_BUSY, *_short(scale)):
        yield _conversation(pair, _PAGE)
    for streams in STREAMS.values():
        for number, pair in enumerate(_listened(streams)):
            yield _conversation(pair, 1, age=number)
    for owner, count in zip(SIZES, scale.rows, strict=True):
        for number in range(count):
            yield _conversation((owner, f"{owner}-{number}"), 1, age=number)


def _conversation(pair: Pair, count: int, age: int = 0) -> NewConversation:
    """`count` messages, one a second; the last is `age` seconds older than the newest of the table."""
    group_uuid, members = _group_uuid(pair), (_user(pair[0]), _user(pair[1]))

    def messages() -> Iterator[NewMessage]:
        for seq in range(1, count + 1):
            created_at = _NEWEST - timedelta(seconds=age + count - seq)
            yield NewMessage(_uuid(f"{group_uuid} {seq}"), created_at, members[seq % 2], _TEXT.format(seq))

    return NewConversation(group_uuid, members, messages())


def _user(handle: str) -> User:
    return User(_uuid(handle), handle, handle.title())


def _group_uuid(pair: Pair) -> str:
    return _uuid(" and ".join(pair))


def _uuid(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, name))


class Request(NamedTuple):
    """A request of a load. With a JSON body it is a POST."""

    path: str
    token: str = ""
    body: str = ""


Subjects = dict[str, list[Request]]


@cache
def _token(handle: str) -> str:
    return KEY.sign(access_claims(_user(handle).uuid, issuer=ISSUER, client_id=CLIENT_ID))


def _read(pair: Pair) -> Request:
    return Request(f"/api/messages/{_group_uuid(pair)}", _token(pair[0]))


def _send(pair: Pair) -> Request:
    body = {"message_group_uuid": _group_uuid(pair), "message": "A message of the load"}
    return Request("/api/messages", _token(pair[0]), json.dumps(body))


def _messages(scale: Scale) -> Subjects:
    first = {size: _read(pair) for size, pair in _READ.items()}
    return _pages(scale, first, keys.message_pk(_group_uuid(_READ[LARGE])))


def _inbox(scale: Scale) -> Subjects:
    first = {size: Request("/api/message_groups", _token(size)) for size in SIZES}
    return _pages(scale, first, keys.inbox_pk(_user(LARGE).uuid))


def _pages(scale: Scale, first: dict[str, Request], pk: str) -> Subjects:
    """The first pages of lists by size, and the far page of the largest list, whose partition is `pk`."""
    # A cursor holds the time of the row before its page. The lists have one row a second.
    time = to_timestamp(_NEWEST - timedelta(seconds=_PAGE * (scale.page - 1) - 1))
    cursor = CursorSigner(SECRET_KEY).sign("cursor", time, pk=pk)
    far = Request(f"{first[LARGE].path}?cursor={cursor}", first[LARGE].token)
    return {subject: [request] for subject, request in {**first, FAR: far}.items()}


def _sends(scale: Scale, count: int | None = None) -> Subjects:
    return {SEND: [_send(pair) for pair in _short(scale)[:count]]}


def listeners(streams: int) -> list[str]:
    """The tokens of the users who have a stream, if so many are open."""
    return [_token(f"listener-{streams}-{number}") for number in range(streams)]


def live_sends(streams: int) -> list[Request]:
    """Messages to the users who have a stream, if so many are open."""
    return [_send(pair) for pair in _listened(streams)]


def other_sends(scale: Scale) -> list[Request]:
    """Messages to users without a stream."""
    return [_send(pair) for pair in _short(scale)[:_FEW]]


def calm_requests(scale: Scale) -> list[Request]:
    """Lists and, as every tenth, a send. Each of the users sends once, so none reaches a limit."""
    requests = []
    for pair in _short(scale)[:_SENDERS]:
        inbox = Request("/api/message_groups", _token(pair[0]))
        requests += [_send(pair), *[inbox, _read(pair)] * 4, inbox]
    return requests


def flood_requests() -> list[Request]:
    """The messages of one user."""
    return [_send(_BUSY)]


def _many_clients(scale: Scale) -> Subjects:
    mixed = [request(pair) for pair in _short(scale) for request in (_send, _read)]
    return {MESSAGES: [_read(_READ[SMALL])], MIXED: mixed, BUSY: [_send(_BUSY)]}


class Scenario(NamedTuple):
    """Subjects, and the server's workers and clients. With `all_cores`, the server uses all cores.

    The naive view reads the partition `pk`. With `loop`, the boto3 loop has a turn and reads the same.
    """

    subjects: Callable[[Scale], Subjects]
    pk: str = keys.message_pk(_group_uuid(_READ[SMALL]))
    loop: bool = False
    workers: int = 1
    clients: int = 8
    all_cores: bool = False


SCENARIOS = {
    MESSAGES: Scenario(_messages, loop=True),
    INBOX: Scenario(_inbox, pk=keys.inbox_pk(_user(SMALL).uuid), loop=True),
    SEND: Scenario(partial(_sends, count=_FEW)),
    PROCESSES: Scenario(_sends, workers=4),
    MANY_CLIENTS: Scenario(_many_clients, workers=2, clients=64, all_cores=True),
}
