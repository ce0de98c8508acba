"""bin/cache/create against a server that speaks Momento's protocol."""

from __future__ import annotations

import grpc
import pytest

from tests.support import scripts
from tests.support.momento_server import KEY, MomentoServer, run_momento

server = pytest.fixture(run_momento)


@pytest.fixture(autouse=True)
def settings(server: MomentoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTO_API_KEY", KEY)
    monkeypatch.setenv("MOMENTO_ENDPOINT", server.url)
    monkeypatch.setenv("MOMENTO_CACHE_NAME", "cruddur-staging")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> scripts.Run:
    return scripts.runner(capsys, "cache")


def test_second_run_creates_no_second_cache(run: scripts.Run, server: MomentoServer) -> None:
    for outcome in ("created", "already there"):
        assert run("create") == (0, [], f"cruddur-staging: {outcome}\n")
    assert server.caches.keys() == {"cruddur", "cruddur-staging"}


@pytest.mark.parametrize(
    ("key", "printed"),
    [(KEY, "Momento: "), ("another key altogether", "Momento: "), ("", "MOMENTO_API_KEY is not set")],
)
def test_failure_is_one_line_without_the_key(
    key: str, printed: str, run: scripts.Run, server: MomentoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOMENTO_API_KEY", key)
    server.fault = grpc.StatusCode.UNAVAILABLE if key == KEY else None
    status, data, message = run("create")
    assert (status, data, message.startswith(printed), message.count("\n")) == (1, [], True, 1)
    assert not key or key not in message
