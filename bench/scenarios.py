"""What is measured: the requests of each scenario, and whom they are put to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bench.dataset import ROLES, Dataset, Talk, last_page, row_above, sort_key
from bench.load import Load, Request, drive, drive_to_the_end
from bench.measure import BareLoop, Scenario, Served, Subject
from bench.people import UserPool
from bench.servers import Server
from lib.ddb import keys
from lib.ddb.cursor import CursorSigner
from lib.users import User

MESSAGES, INBOX, SEND, HOT = "messages", "inbox", "send", "hot"
ONE_CLIENT, MANY_CLIENTS, COLD = "one-client", "many-clients", "cold"
NAMES = (MESSAGES, INBOX, SEND, HOT, ONE_CLIENT, MANY_CLIENTS, COLD)

NAIVE, FLOOR, LOOP, FAR, MIXED = "naive", "floor", "loop", "far", "mixed"
"""Keys of subjects; those of three sizes are dataset.ROLES."""

_SOME, _MANY = 8, 64
_FLOOR = [Request("/floor")]
_BASELINES = {NAIVE: "the naive view", FLOOR: "the server's floor", LOOP: "a bare boto3 loop"}


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part: the two servers, makers of the bare loop, the data, who signs in, and where files go."""

    api: Server
    naive: Server
    loop: Callable[[str, str], BareLoop]
    data: Dataset
    pool: UserPool
    cursors: CursorSigner
    folder: Path


def _messages(cast: Cast) -> Scenario:
    talks, data = cast.data.talks, cast.data
    token = cast.pool.token(data.reader)
    put = _Put(cast, MESSAGES, clients=_SOME)
    put.naive(f"/messages/{talks['small'].group_uuid}")
    for role in ROLES:
        put.api(role, f"first page of {talks[role].count:,} messages", [_read(talks[role], token)])
    page = min(data.sizes.page, last_page(talks["large"].count))
    put.api(FAR, f"page {page:,} of the last", [_read(talks["large"], token, cursor=_message_cursor(cast, page))])
    put.floor()
    put.loop("messages", talks["small"].group_uuid)
    return put.scenario(f"GET /api/messages/<uuid>, 20 rows, {_SOME} clients")


def _inbox(cast: Cast) -> Scenario:
    inboxes = cast.data.inboxes
    put = _Put(cast, INBOX, clients=_SOME)
    put.naive(f"/message_groups/{inboxes['small'].owner.uuid}")
    for role in ROLES:
        put.api(role, f"first page of {inboxes[role].count:,} rows", [_list(cast, inboxes[role].owner)])
    page = min(cast.data.sizes.page, last_page(inboxes["large"].count))
    put.api(FAR, f"page {page:,} of the last", [_list(cast, inboxes["large"].owner, cursor=_inbox_cursor(cast, page))])
    put.floor()
    put.loop("inbox", inboxes["small"].owner.uuid)
    return put.scenario(f"GET /api/message_groups, 20 rows, {_SOME} clients")


def _send(cast: Cast) -> Scenario:
    put = _Put(cast, SEND, clients=_SOME)
    put.naive(f"/messages/{cast.data.talks['small'].group_uuid}")
    put.api(SEND, f"a message in one of {len(cast.data.cool):,} conversations", _sends(cast, cast.data.cool))
    put.floor()
    put.loop("send", cast.data.loop.group_uuid)
    return put.scenario(f"POST /api/messages, six items, {_SOME} clients; the naive view reads, as above")


def _hot(cast: Cast) -> Scenario:
    put = _Put(cast, HOT, clients=_SOME)
    put.naive(f"/messages/{cast.data.talks['small'].group_uuid}")
    put.api("hot", "one conversation, sends and reads", _mixed(cast, [cast.data.hot]))
    put.api("cool", f"{len(cast.data.cool):,} conversations, sends and reads", _mixed(cast, cast.data.cool))
    put.floor()
    return put.scenario(f"sends and reads in turn, {_SOME} clients; the naive view reads, as above")


def _one_client(cast: Cast) -> Scenario:
    put = _Put(cast, ONE_CLIENT, clients=1)
    small = cast.data.talks["small"]
    put.naive(f"/messages/{small.group_uuid}")
    put.api(MESSAGES, "messages", [_read(small, cast.pool.token(cast.data.reader))])
    put.api(INBOX, "inbox", [_list(cast, cast.data.inboxes["small"].owner)])
    put.api(SEND, "a message sent", _sends(cast, cast.data.cool[:20]))
    put.floor()
    return put.scenario("1 client")


def _many_clients(cast: Cast) -> Scenario:
    put = _Put(cast, MANY_CLIENTS, clients=_MANY)
    small = cast.data.talks["small"]
    put.naive(f"/messages/{small.group_uuid}")
    put.api(MESSAGES, "messages", [_read(small, cast.pool.token(cast.data.reader))])
    put.api(MIXED, "sends and reads", _mixed(cast, cast.data.cool))
    put.api(HOT, "sends into one conversation, to the last answer", _sends(cast, [cast.data.hot]), drive_to_the_end)
    put.floor()
    return put.scenario(f"{_MANY} clients, 2 workers")


class _Put:
    """Collects the subjects of a scenario, in the order in which they take turns."""

    def __init__(self, cast: Cast, name: str, *, clients: int) -> None:
        self._cast, self._name, self._clients = cast, name, clients
        self._subjects: dict[str, Subject] = {}
        self._labels = dict(_BASELINES)

    def naive(self, path: str) -> None:
        self._subjects[NAIVE] = self._served(self._cast.naive, NAIVE, [Request(path)])

    def floor(self) -> None:
        self._subjects[FLOOR] = self._served(self._cast.naive, FLOOR, _FLOOR)

    def loop(self, operation: str, uuid: str) -> None:
        self._subjects[LOOP] = self._cast.loop(operation, uuid)

    def api(self, key: str, label: str, requests: Sequence[Request], drive: Callable[..., Load] = drive) -> None:
        self._subjects[key] = self._served(self._cast.api, key, requests, drive)
        self._labels[key] = label

    def scenario(self, title: str) -> Scenario:
        return Scenario(self._name, title, self._subjects, {key: self._labels[key] for key in self._subjects})

    def _served(
        self, server: Server, key: str, requests: Sequence[Request], drive: Callable[..., Load] = drive
    ) -> Served:
        file = self._cast.folder / f"{self._name}-{key}.requests"
        return Served(server, requests, clients=self._clients, file=file, drive=drive)


def _read(talk: Talk, token: str, **query: str) -> Request:
    return Request(f"/api/messages/{talk.group_uuid}{_query(query)}", token)


def _list(cast: Cast, owner: User, **query: str) -> Request:
    return Request(f"/api/message_groups{_query(query)}", cast.pool.token(owner))


def _sends(cast: Cast, talks: Sequence[Talk]) -> list[Request]:
    return [_send_one(talk, cast.pool.token(talk.members[0])) for talk in talks]


def _mixed(cast: Cast, talks: Sequence[Talk]) -> list[Request]:
    """In each conversation the one sends and the other reads."""
    requests = []
    for talk in talks:
        sender, reader = (cast.pool.token(member) for member in talk.members)
        requests += [_send_one(talk, sender), _read(talk, reader)]
    return requests


def _send_one(talk: Talk, token: str) -> Request:
    return Request("/api/messages", token, {"message_group_uuid": talk.group_uuid, "message": "A message of the load"})


def _message_cursor(cast: Cast, page: int) -> str:
    talk = cast.data.talks["large"]
    end = sort_key(talk.at(row_above(talk.count, page)))
    return cast.cursors.sign("cursor", end, pk=keys.message_pk(talk.group_uuid))


def _inbox_cursor(cast: Cast, page: int) -> str:
    inbox = cast.data.inboxes["large"]
    end = sort_key(inbox.at(row_above(inbox.count, page)))
    return cast.cursors.sign("cursor", end, pk=keys.inbox_pk(inbox.owner.uuid))


def _query(query: dict[str, str]) -> str:
    return f"?{urlencode(query)}" if query else ""


PINNED = {MESSAGES: _messages, INBOX: _inbox, SEND: _send, HOT: _hot, ONE_CLIENT: _one_client}
"""Run on one worker with cores of its own."""

SPREAD = {MANY_CLIENTS: _many_clients}
"""Run on two workers and all cores, as in production."""
