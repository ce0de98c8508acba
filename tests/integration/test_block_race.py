"""A thousand sends through several processes, while the receiver blocks the sender."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path
from threading import Semaphore
from typing import Any

import pytest

from lib.ddb.items import Message
from tests.support.api import JSON, Api, Person, run_api
from tests.support.api_server import ApiServer
from tests.support.stores import TableContents
from tools.local_stack.processes import LOOPBACK

SENDS, BEFORE, CLIENTS, PROCESSES = 1000, 300, 12, 4

api = pytest.fixture(scope="module")(run_api)


@dataclass(frozen=True)
class Send:
    """A finished send, and when it began."""

    began_at: float
    status: int
    body: Any


def request(server: ApiServer, person: Person, method: str, path: str, body: JSON | None = None) -> tuple[int, Any]:
    """The status and the JSON of a response on a connection of its own: the kernel chooses the process."""
    connection = HTTPConnection(LOOPBACK, server.port, timeout=20)
    headers = {**person.headers, "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if text else None


@pytest.mark.parametrize("mode", ["inline", "stream"])
def test_block_ends_the_sends_of_all_processes(api: Api, tmp_path: Path, mode: str) -> None:
    anna, bert = api.couple()
    first = anna.write("first", to=bert)
    group = first["message_group_uuid"]
    contents = TableContents(api.boto3, api.settings.ddb_table)
    receivers = [{"message_group_uuid": group}, {"handle": bert.user.handle}]
    stored = Semaphore(0)
    variables = api.server_variables() | {"WEB_CONCURRENCY": str(PROCESSES), "GROUP_UPDATES": mode}
    with ApiServer(tmp_path / "log", **variables) as server, ThreadPoolExecutor(CLIENTS) as threads:

        def send(receiver: JSON) -> Send:
            began_at = time.monotonic()
            status, body = request(server, anna, "POST", "/api/messages", {"message": "hello", **receiver})
            stored.release()
            return Send(began_at, status, body)

        sending = [threads.submit(send, receiver) for receiver in islice(cycle(receivers), SENDS)]
        for _ in range(BEFORE):
            stored.acquire()
        assert request(server, bert, "PUT", f"/api/blocks/@{anna.user.handle}") == (204, None)
        blocked_at = time.monotonic()
        messages = contents.messages(group)
        sends = [future.result() for future in sending]

    accepted = [send for send in sends if send.status == 200]
    refused = [send for send in sends if send.status != 200]
    assert len(accepted) >= BEFORE
    assert {(send.status, *send.body) for send in refused} == {(403, "receiver_unavailable")}
    assert all(send.began_at < blocked_at for send in accepted)
    assert uuids(contents.messages(group)) == {first["uuid"], *(send.body["uuid"] for send in accepted)}
    assert any(send.began_at > blocked_at for send in refused)
    if mode == "inline":
        assert uuids(contents.messages(group)) == uuids(messages)
        assert contents.conversation(group).seq == len(messages)


def uuids(messages: list[Message]) -> set[str]:
    assert len({message.uuid for message in messages}) == len(messages)
    return {message.uuid for message in messages}
