"""What is measured: the requests of each scenario, and who answers them."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from bench.dataset import SIZES, Conversation, user
from bench.environment import API, BASELINE, Environment
from bench.wrk import Request
from lib.ddb import keys

MESSAGES, INBOX, SEND, PROCESSES = "messages", "inbox", "send", "processes"
MANY_CLIENTS, STARTUP = "many-clients", "startup"
NAMES = (MESSAGES, INBOX, SEND, PROCESSES, MANY_CLIENTS, STARTUP)

NAIVE, FLOOR, LOOP, FAR, MIXED, BUSY = "naive", "floor", "loop", "far", "mixed", "busy"
"""Keys of subjects; those of three sizes are dataset.SIZES."""

_OFTEN = 32  # conversations: a process that has them to itself writes to each several times a second


@dataclass(frozen=True, slots=True)
class Subject:
    """Requests for the servers of an application; or, with `partition`, the bare boto3 loop instead.

    With `lead_in`, each round follows a second of the same load: what was written last was written just now.
    """

    label: str
    requests: Sequence[Request] = ()
    application: str = API
    to_the_end: bool = False
    lead_in: bool = False
    partition: str = ""


Subjects = dict[str, Subject]
"""By key, in the order in which they take turns; the naive view, which all are held against, is the first."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Subjects, how many servers of so many workers answer, and how many clients ask.

    `subjects` are made when the API runs, at a URL. Scenarios with the same `setup` share their servers.
    """

    title: str
    subjects: Callable[[Environment, str], Subjects]
    servers: int = 1
    workers: int = 1
    clients: int = 8
    own_cores: bool = True

    @property
    def setup(self) -> tuple[int, int, bool]:
        return self.servers, self.workers, self.own_cores


def _messages(environment: Environment, url: str) -> Subjects:
    small, *_ = conversations = environment.data.conversations
    subjects = _baselines(environment)
    for size, conversation in zip(SIZES, conversations, strict=True):
        request = _read(environment, conversation)
        subjects[size] = Subject(f"first page of {conversation.count:,} messages", [request])
    return subjects | _far_and_loop(environment, url, request, keys.message_pk(small.uuid))


def _inbox(environment: Environment, url: str) -> Subjects:
    small = user("small").uuid
    subjects = _baselines(environment, f"/message_groups/{small}")
    for size, count in environment.data.inboxes.items():
        request = Request("/api/message_groups", environment.token(user(size)))
        subjects[size] = Subject(f"first page of {count:,} rows", [request])
    return subjects | _far_and_loop(environment, url, request, keys.inbox_pk(small))


def _sends(environment: Environment, url: str, count: int | None = None) -> Subjects:
    active = environment.data.active[:count]
    label = f"a message in one of {len(active):,} conversations"
    requests = [_send(environment, each) for each in active]
    return _baselines(environment) | {SEND: Subject(label, requests, lead_in=count is not None)}


def _many_clients(environment: Environment, url: str) -> Subjects:
    data = environment.data
    mixed = [request for each in data.active for request in (_send(environment, each), _read(environment, each))]
    busy = [_send(environment, data.busy)]
    return _baselines(environment) | {
        MESSAGES: Subject("messages", [_read(environment, data.conversations[0])]),
        MIXED: Subject("sends and reads", mixed),
        BUSY: Subject("sends into one conversation, to the last answer", busy, to_the_end=True),
    }


def _baselines(environment: Environment, naive_path: str | None = None) -> Subjects:
    path = naive_path or f"/messages/{environment.data.conversations[0].uuid}"
    return {
        NAIVE: Subject("the naive view", [Request(path)], BASELINE),
        FLOOR: Subject("the server's floor", [Request("/floor")], BASELINE),
    }


def _far_and_loop(environment: Environment, url: str, first: Request, partition: str) -> Subjects:
    """The far page of the list that begins with this page, found by its links; and the bare boto3 loop."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    path, page = first.path, environment.data.page
    for _ in range(page - 1):
        request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {first.token}"})  # noqa: S310
        with direct.open(request, timeout=10) as response:
            link = urlsplit(response.headers["Link"].partition("<")[2].partition(">")[0])
        path = f"{link.path}?{link.query}"
    far = Subject(f"page {page:,} of the last", [Request(path, first.token)])
    return {FAR: far, LOOP: Subject("a bare boto3 loop", partition=partition)}


def _read(environment: Environment, conversation: Conversation) -> Request:
    return Request(f"/api/messages/{conversation.uuid}", environment.token(conversation.members[0]))


def _send(environment: Environment, conversation: Conversation) -> Request:
    body = {"message_group_uuid": conversation.uuid, "message": "A message of the load"}
    return Request("/api/messages", environment.token(conversation.members[0]), body)


SCENARIOS = {
    MESSAGES: Scenario("GET /api/messages/<uuid>, 20 rows", _messages),
    INBOX: Scenario("GET /api/message_groups, 20 rows", _inbox),
    SEND: Scenario("POST /api/messages in one process; the naive view reads", partial(_sends, count=_OFTEN)),
    PROCESSES: Scenario("POST /api/messages at random in four processes; the naive view reads", _sends, servers=4),
    MANY_CLIENTS: Scenario("64 clients, two workers, all cores", _many_clients, workers=2, clients=64, own_cores=False),
}
