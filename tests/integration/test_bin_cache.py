"""bin/cache/create on a server that speaks Momento's protocol: what it does, tells and keeps to itself."""

from __future__ import annotations

import grpc
import pytest

from tests.support import scripts
from tests.support.momento_server import KEY, MomentoServer, momento


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> scripts.Run:
    return scripts.runner(capsys, "cache")


def use(server: MomentoServer, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENTO_API_KEY", key)
    monkeypatch.setenv("MOMENTO_ENDPOINT", server.url)
    monkeypatch.setenv("MOMENTO_CACHE_NAME", "cruddur-staging")


def test_create_creates_the_cache_of_the_settings_once(run: scripts.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with momento() as server:
        server.caches = {"another": {}}
        use(server, KEY, monkeypatch)
        for outcome in ("created", "already there"):
            assert run("create") == (0, [], f"cruddur-staging: {outcome}\n")
        assert server.caches.keys() == {"another", "cruddur-staging"}


@pytest.mark.parametrize(
    ("key", "fault", "printed"),
    [
        ("another key altogether", None, "Momento: "),
        (KEY, grpc.StatusCode.UNAVAILABLE, "Momento: "),
        (KEY, grpc.StatusCode.PERMISSION_DENIED, "Momento: "),
        ("", None, "MOMENTO_API_KEY is not set"),
    ],
)
def test_refusal_is_told_in_a_line_without_the_key(
    key: str, fault: grpc.StatusCode | None, printed: str, run: scripts.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with momento() as server:
        server.fault = fault
        use(server, key, monkeypatch)
        status, data, said = run("create")
    assert (status, data, said.startswith(printed), said.count("\n")) == (1, [], True, 1)
    assert not key or key not in said
