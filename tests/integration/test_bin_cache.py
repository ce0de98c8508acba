"""bin/cache/create on a server that speaks Momento's protocol: what it does, tells and keeps to itself."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.support import scripts
from tests.support.momento_server import KEY, MomentoServer, momento


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MomentoServer]:
    """The settings lead to it; it has a cache of somebody else's alone."""
    with momento() as running:
        running.caches = {"another": {}}
        monkeypatch.setenv("MOMENTO_API_KEY", KEY)
        monkeypatch.setenv("MOMENTO_ENDPOINT", running.url)
        yield running


def test_create_creates_the_cache_of_the_settings_and_again_nothing(
    server: MomentoServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOMENTO_CACHE_NAME", "cruddur-staging")
    for shown in ("created", "already there"):
        assert scripts.load("cache/create")([]) == 0
        assert tuple(capsys.readouterr()) == ("", f"cruddur-staging: {shown}\n")
    assert server.caches.keys() == {"another", "cruddur-staging"}


def test_create_as_a_process(server: MomentoServer) -> None:
    done = scripts.run("cache/create")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "cruddur: created\n")


def test_without_a_key_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert scripts.load("cache/create")([]) == 1
    assert capsys.readouterr().err.startswith("MOMENTO_API_KEY is not set")


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("another key altogether", None),
        (KEY, grpc.StatusCode.UNAVAILABLE),
        (KEY, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_a_refusal_is_told_in_a_line_without_the_key(
    server: MomentoServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    fault: grpc.StatusCode | None,
) -> None:
    monkeypatch.setenv("MOMENTO_API_KEY", key)
    server.fault = fault
    assert scripts.load("cache/create")([]) == 1
    out, err = capsys.readouterr()
    assert (out, err.startswith("Momento: "), err.count("\n"), key in err) == ("", True, 1, False)
