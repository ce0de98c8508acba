"""A hundred streams on two workers. The benchmark's test opens a thousand."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

import pytest

from bench.stream_clients import StreamClients
from tests.support.api import Api, run_api
from tests.support.api_server import ApiServer
from tests.support.clocks import eventually
from tools.local_stack.processes import LOOPBACK

api = pytest.fixture(scope="module")(run_api)


def test_messages_reach_a_hundred_streams_within_moments(api: Api, tmp_path: Path) -> None:
    anna, *others = [api.sign_up() for _ in range(101)]
    tokens = [person.authorization.removeprefix("Bearer ") for person in others]
    acknowledged_at = {}
    with (
        ApiServer(tmp_path / "log", WEB_CONCURRENCY="2", **api.server_variables()) as server,
        StreamClients(server.port, tokens, tmp_path) as clients,
    ):
        connection = HTTPConnection(LOOPBACK, server.port, timeout=10)
        for person in others[::2]:
            body = json.dumps({"message": "hello", "handle": person.user.handle})
            connection.request("POST", "/api/messages", body, {**anna.headers, "Content-Type": "application/json"})
            message_uuid = json.loads(connection.getresponse().read())["uuid"]
            acknowledged_at[message_uuid] = time.monotonic()
        connection.close()
        assert eventually(lambda: clients.arrivals().keys() >= acknowledged_at.keys())
        arrivals = clients.arrivals()
    assert arrivals.keys() == acknowledged_at.keys()
    assert median(arrivals[key] - acknowledged for key, acknowledged in acknowledged_at.items()) < 0.2
