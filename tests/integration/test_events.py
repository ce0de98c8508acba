"""Live updates through the real server: what a client of the stream gets, and when."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from queue import Empty
from typing import Any

import pytest

from tests.support.api import Api, Person, run_api
from tests.support.api_server import ApiServer
from tests.support.event_stream import Event, Stream

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture(scope="module")
def server(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    log = tmp_path_factory.mktemp("events") / "server.log"
    variables = api.server_variables() | {"WEB_CONCURRENCY": "2"}
    server = ApiServer(log, **variables)
    server.start()
    yield server
    server.stop()


def post(port: int, person: Person, path: str, body: object = None) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", path, json.dumps(body).encode(), {**person.headers, "Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    assert response.status in (200, 204), text
    return json.loads(text) if text else None


def test_message_arrives_by_itself(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    stream = Stream(server.port, bert)
    assert stream.next().name == "hello"
    times = []
    for n in range(20):
        sent = post(server.port, anna, "/api/messages", {"message": f"hi {n}", "handle": bert.user.handle})
        acknowledged = time.monotonic()
        event = stream.next()
        times.append(time.monotonic() - acknowledged)
        assert event.data["message_uuid"] == sent["uuid"]
    group = sent["message_group_uuid"]
    post(server.port, bert, f"/api/message_groups/{group}/read", {"seq": 1})
    assert stream.next() == Event("read", {"uuid": group, "user_uuid": bert.user.uuid, "read_seq": 1})
    post(server.port, anna, f"/api/message_groups/{group}/typing")
    assert stream.next() == Event("typing", {"uuid": group, "user_uuid": anna.user.uuid})
    stream.close()
    again = Stream(server.port, bert, since=stream.last_id)
    assert again.next().name == "hello"
    with pytest.raises(Empty):
        again.next(1)
    sent = post(server.port, anna, "/api/messages", {"message": "more", "handle": bert.user.handle})
    assert again.next().data["message_uuid"] == sent["uuid"]
    again.close()
