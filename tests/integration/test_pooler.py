"""Live updates between processes whose DATABASE_URL leads through a pooler in transaction mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.api import Api, run_api
from tests.support.api_server import ApiServer
from tests.support.clocks import eventually
from tests.support.event_stream import Stream
from tests.support.pooler import pooler

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture(scope="module")
def pooled_url(api: Api) -> Iterator[str]:
    with pooler(api.settings.database_url) as url:
        yield url


@pytest.mark.parametrize("is_direct", [True, False])
def test_message_of_another_process_arrives_with_and_without_hints(
    api: Api, pooled_url: str, tmp_path: Path, is_direct: bool
) -> None:
    live = {"LIVE_DATABASE_URL": api.settings.database_url} if is_direct else {}
    variables = api.server_variables() | {"DATABASE_URL": pooled_url, "WEB_CONCURRENCY": "1", **live}
    anna, bert = api.couple()
    log = tmp_path / "log"
    with ExitStack() as servers:
        server = servers.enter_context(ApiServer(log, **variables))
        stream = Stream(server.port, bert)
        servers.callback(stream.close)
        assert stream.next().name == "hello"
        if is_direct:
            assert eventually(lambda: "live_connected" in log.read_text())
        sent = anna.write("hello", to=bert)  # by the process of this test
        assert stream.next(10).data["message_uuid"] == sent["uuid"]
        assert ("live_connected" in log.read_text()) == is_direct
