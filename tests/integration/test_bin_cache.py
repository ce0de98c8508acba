"""The scripts in bin/cache on a server that speaks Momento's protocol: what they do, tell and keep to themselves."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import jwt
import pytest

from tests import scripts
from tests.momento_server import KEY, MomentoServer, momento

SCRIPTS = ["cache/create", "cache/stats", "cache/rotate"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MomentoServer]:
    """The settings lead to it; it has a cache of somebody else's alone."""
    with momento() as running:
        running.caches = {"another": {}}
        monkeypatch.setenv("MOMENTO_API_KEY", KEY)
        monkeypatch.setenv("MOMENTO_ENDPOINT", running.url)
        yield running


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    return capsys


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_create_creates_the_cache_of_the_settings_and_again_nothing(
    server: MomentoServer, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOMENTO_CACHE_NAME", "cruddur-staging")
    for shown in ("created", "already there"):
        assert scripts.load("cache/create")([]) == 0
        assert tuple(output.readouterr()) == ("", f"cruddur-staging: {shown}\n")
    assert server.caches.keys() == {"another", "cruddur-staging"}


def test_create_as_a_process(server: MomentoServer) -> None:
    done = scripts.run("cache/create")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "cruddur: created\n")


@pytest.mark.parametrize("name", SCRIPTS)
def test_without_a_key_there_is_nothing_to_do(name: str, output: pytest.CaptureFixture[str]) -> None:
    assert scripts.load(name)([]) == 1
    assert output.readouterr().err.startswith("MOMENTO_API_KEY is not set")


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(
    ("key", "fault", "told"),
    [
        ("another key altogether", None, "Momento: unauthenticated: no such key\n"),
        (KEY, grpc.StatusCode.UNAVAILABLE, "Momento: unavailable: as the test wants it\n"),
        (KEY, grpc.StatusCode.PERMISSION_DENIED, "Momento: permission_denied: as the test wants it\n"),
    ],
)
def test_what_momento_refuses_is_told_in_a_line_without_the_key(
    server: MomentoServer,
    monkeypatch: pytest.MonkeyPatch,
    output: pytest.CaptureFixture[str],
    name: str,
    key: str,
    fault: grpc.StatusCode | None,
    told: str,
) -> None:
    monkeypatch.setenv("MOMENTO_API_KEY", key)
    type_in(monkeypatch, "a-refresh-token\n")
    server.fault = fault
    assert scripts.load(name)([]) == 1
    assert tuple(output.readouterr()) == ("", told)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_key_that_is_good_nowhere_is_told_without_it(
    monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv("MOMENTO_API_KEY", "this is no key at all")
    assert scripts.load(name)(["prod", "--yes"] if name == "cache/rotate" else []) == 1
    said = output.readouterr().err
    assert "this is no key" not in said
    assert said.count("\n") == 1


def test_stats_shows_every_cache_its_limits_and_how_long_calls_take(
    server: MomentoServer, output: pytest.CaptureFixture[str]
) -> None:
    server.caches["cruddur"] = {}
    assert scripts.load("cache/stats")([]) == 0
    out, err = output.readouterr()
    assert err == ""
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert ["another", "100", "1000", "1024", "86400"] in lines
    assert ["cruddur", "100", "1000", "1024", "86400"] in lines
    for call in ("get, a miss", "put", "get, a hit", "forget"):
        assert re.search(rf"^{call} +\d+\.\d\d +\d+\.\d\d *$", out, re.MULTILINE)
    assert server.calls.count("Get") == 41
    server.now += 600
    assert server.entries() == {}


def test_stats_of_a_cache_that_is_not_there_says_so(server: MomentoServer, output: pytest.CaptureFixture[str]) -> None:
    assert scripts.load("cache/stats")([]) == 1
    out, err = output.readouterr()
    assert "another" in out
    assert err.startswith("Momento: ")
    assert err.count("\n") == 1


def test_stats_adds_up_what_processes_have_logged(
    server: MomentoServer, tmp_path: Path, output: pytest.CaptureFixture[str]
) -> None:
    server.caches["cruddur"] = {}
    log = tmp_path / "api.log"
    log.write_bytes(
        b'{"event": "request", "status": 200}\n'
        b'{"event": "cache_used", "hits": 40, "misses": 2, "faults": 0}\n'
        b"not JSON at all\n"
        b'{"event": "cache_used", "hits": 5, "mis\n'
        b'{"event": "cache_used"}\n'
        b"\x80\n"
        b'api-1  | {"event": "cache_used", "hits": 60, "misses": 1, "faults": 3}\n'
    )
    assert scripts.load("cache/stats")(["--log", str(log)]) == 0
    assert output.readouterr().out.splitlines()[-1].split() == ["100", "3", "3"]
    assert scripts.load("cache/stats")(["--log", str(tmp_path / "missing")]) == 1


def test_rotate_prints_the_new_pair_once_and_the_old_key_is_still_good(
    server: MomentoServer, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
) -> None:
    type_in(monkeypatch, "a-refresh-token\n")
    assert scripts.load("cache/rotate")([]) == 0
    out, err = output.readouterr()
    assert out == "MOMENTO_API_KEY=the-next-api-key\nrefresh token: the-next-refresh-token\n"
    assert err.startswith("Good until 2027-01-15 08:00 UTC. ")
    assert "the-next" not in err
    for key in (KEY, "the-next-api-key"):
        monkeypatch.setenv("MOMENTO_API_KEY", key)
        assert scripts.load("cache/create")([]) == 0


@pytest.mark.parametrize(
    ("typed", "told"),
    [("", "No refresh token was given\n"), ("a wrong one\n", "Momento: permission_denied: no such refresh token\n")],
)
def test_rotate_needs_the_refresh_token_that_came_with_the_key(
    server: MomentoServer,
    monkeypatch: pytest.MonkeyPatch,
    output: pytest.CaptureFixture[str],
    typed: str,
    told: str,
) -> None:
    type_in(monkeypatch, typed)
    assert scripts.load("cache/rotate")([]) == 1
    assert tuple(output.readouterr()) == ("", told)
    assert server.keys == {KEY}


def test_rotate_takes_the_end_of_the_input_for_no_answer(
    server: MomentoServer, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
) -> None:
    def end(prompt: str) -> str:
        raise EOFError

    type_in(monkeypatch, "")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", end)
    assert scripts.load("cache/rotate")([]) == 1
    assert output.readouterr().err == "No refresh token was given\n"


def test_rotate_says_what_to_do_about_a_key_that_has_no_refresh_token(
    server: MomentoServer, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOMENTO_API_KEY", jwt.encode({"t": "g"}, "a secret of Momento's, which we do not know"))
    type_in(monkeypatch, "a-refresh-token\n")
    assert scripts.load("cache/rotate")([]) == 1
    assert output.readouterr().err == "This key is of the second version and has no refresh token: see --help\n"
    assert server.calls == []


def test_rotate_elsewhere_has_to_be_meant(monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]) -> None:
    wrapped = base64.b64encode(json.dumps({"endpoint": "cell-1.prod.example.com", "api_key": KEY}).encode())
    monkeypatch.setenv("MOMENTO_API_KEY", wrapped.decode())
    for words in ([], ["prod"]):
        type_in(monkeypatch, "cruddur\n")
        assert scripts.load("cache/rotate")(words) == 1
        assert output.readouterr().err.startswith("Refused to exchange the API key")
