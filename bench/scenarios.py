"""What is measured: the conversations in the table, the requests of each scenario, and the servers that answer them."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from lib.ddb import keys
from lib.users.directory import User
from tools.seed.bulk import NewConversation, NewMessage

MESSAGES, INBOX, SEND, PROCESSES, MANY_CLIENTS = "messages", "inbox", "send", "processes", "many-clients"
SMALL, MEDIUM, LARGE = SIZES = ("small", "medium", "large")
NAIVE, FLOOR, LOOP, MIXED, BUSY = "naive", "floor", "loop", "mixed", "busy"

_NAMESPACE = UUID("2b7f3f0a-6f0c-4e39-9d7d-0a4f3f3e8f10")
_NEWEST = datetime(2026, 1, 4, 19, 0, tzinfo=UTC)
_TEXT = "Message {}: as long as one that people write in the evening."  # a page of 21 rows costs two read units
_SENDERS = 100  # of the short conversations, so that a sender has about twenty of them
_SHORT = 20  # messages of a short conversation: a page
_FEW = 32  # conversations: a process that alone writes to them writes to each several times a second


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    `messages` and `rows` are the lengths of the conversations and inboxes that are read, by size; `short` is the number
    of conversations to write to, `page` the far page that is read; there are `rounds` of so many `seconds`.
    """

    messages: tuple[int, int, int]
    rows: tuple[int, int, int]
    page: int
    short: int = 2_000
    rounds: int = 5
    seconds: int = 3


FULL = Scale((100, 10_000, 1_000_000), (20, 1_000, 20_000), page=1_000)
QUICK = Scale((100, 1_000, 10_000), (20, 200, 2_000), page=100, rounds=3, seconds=1)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Two members and `count` messages, the last of them sent `age` seconds before the newest of the table."""

    members: tuple[User, User]
    count: int = _SHORT
    age: int = 0

    @property
    def uuid(self) -> str:
        return _uuid(" and ".join(member.uuid for member in self.members))

    def messages(self) -> Iterator[NewMessage]:
        for seq in range(1, self.count + 1):
            created_at = _NEWEST - timedelta(seconds=self.age + self.count - seq)
            yield NewMessage(_uuid(f"{self.uuid} {seq}"), created_at, self.members[seq % 2], _TEXT.format(seq))


class Dataset:
    """The conversations of a scale. The owner of the small inbox is `user("small")`, and so on."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.by_size = {
            size: Conversation((user("reader"), user(f"writer-{size}")), count)
            for size, count in zip(SIZES, scale.messages, strict=True)
        }
        self.busy = Conversation((user("busy-one"), user("busy-two")))
        self.short = [
            Conversation((user(f"sender-{number % _SENDERS}"), user(f"partner-{number}")))
            for number in range(scale.short)
        ]

    def users(self) -> set[User]:
        """The users who sign in, and those who get messages from them."""
        conversations = (*self.by_size.values(), self.busy, *self.short)
        return {member for one in conversations for member in one.members}.union(map(user, SIZES))

    def conversations(self) -> Iterator[NewConversation]:
        """Everything that the loader writes."""
        rows = [
            Conversation((user(size), user(f"{size}-{number}")), count=1, age=number)
            for size, count in zip(SIZES, self.scale.rows, strict=True)
            for number in range(count)
        ]
        for one in (*self.by_size.values(), self.busy, *self.short, *rows):
            yield NewConversation(one.uuid, one.members, one.messages())


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a load; with a body it is a POST."""

    path: str
    token: str = ""
    body: dict[str, str] | None = None

    def line(self) -> str:
        """The request as bench/drive.lua reads it."""
        body = "" if self.body is None else json.dumps(self.body)
        return "\t".join(["POST" if body else "GET", self.path, self.token, body])


@dataclass(frozen=True, slots=True)
class Site:
    """What requests are made from: the data, the function that signs a user's token, and the URL of a running API."""

    data: Dataset
    token: Callable[[User], str]
    url: str

    def read(self, conversation: Conversation) -> Request:
        """The first page of a conversation."""
        return Request(f"/api/messages/{conversation.uuid}", self.token(conversation.members[0]))

    def send(self, conversation: Conversation) -> Request:
        """A message into a conversation."""
        body = {"message_group_uuid": conversation.uuid, "message": "A message of the load"}
        return Request("/api/messages", self.token(conversation.members[0]), body)

    def far(self, first: Request) -> Request:
        """The far page of the list with this first page, found by the links."""
        path = first.path
        for _ in range(self.data.scale.page - 1):
            request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {first.token}"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                link = urlsplit(response.headers["Link"].partition("<")[2].partition(">")[0])
            path = f"{link.path}?{link.query}"
        return Request(path, first.token)


Subjects = dict[str, list[Request]]
"""The API's requests by subject, in the order of the subjects' turns. The baselines' turns come first."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Subjects, and the servers and clients. The naive view reads a conversation, with `inbox` an inbox.

    With `loop`, the boto3 loop has a turn and reads the same.
    """

    title: str
    subjects: Callable[[Site], Subjects]
    inbox: bool = False
    loop: bool = False
    servers: int = 1
    workers: int = 1
    clients: int = 8
    own_cores: bool = True

    def naive_path(self, data: Dataset) -> str:
        return f"/message_groups/{user(SMALL).uuid}" if self.inbox else f"/messages/{data.by_size[SMALL].uuid}"

    def partition(self, data: Dataset) -> str:
        return keys.inbox_pk(user(SMALL).uuid) if self.inbox else keys.message_pk(data.by_size[SMALL].uuid)


def _messages(site: Site) -> Subjects:
    pages = {size: site.read(conversation) for size, conversation in site.data.by_size.items()}
    return _and_far(site, pages)


def _inbox(site: Site) -> Subjects:
    pages = {size: Request("/api/message_groups", site.token(user(size))) for size in SIZES}
    return _and_far(site, pages)


def _and_far(site: Site, pages: dict[str, Request]) -> Subjects:
    pages["far"] = site.far(pages[LARGE])
    return {subject: [request] for subject, request in pages.items()}


def _send(site: Site) -> Subjects:
    return {SEND: [site.send(conversation) for conversation in site.data.short[:_FEW]]}


def _processes(site: Site) -> Subjects:
    return {SEND: [site.send(conversation) for conversation in site.data.short]}


def _many_clients(site: Site) -> Subjects:
    return {
        MESSAGES: [site.read(site.data.by_size[SMALL])],
        MIXED: [request(conversation) for conversation in site.data.short for request in (site.send, site.read)],
        BUSY: [site.send(site.data.busy)],
    }


SCENARIOS = {
    MESSAGES: Scenario("GET /api/messages/<uuid>, 20 rows", _messages, loop=True),
    INBOX: Scenario("GET /api/message_groups, 20 rows", _inbox, inbox=True, loop=True),
    SEND: Scenario(f"POST /api/messages into {_FEW} conversations, one process", _send),
    PROCESSES: Scenario("POST /api/messages into all short conversations, four processes", _processes, servers=4),
    MANY_CLIENTS: Scenario("64 clients, two workers, all cores", _many_clients, workers=2, clients=64, own_cores=False),
}


def user(handle: str) -> User:
    """The user with this handle."""
    return User(_uuid(handle), handle, handle.title())


def _uuid(name: str) -> str:
    return str(uuid5(_NAMESPACE, name))
