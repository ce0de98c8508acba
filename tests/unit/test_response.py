"""Answers and their headers are what botocore makes of them, in all that they do."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse, HeadersDict
from hypothesis import given
from hypothesis import strategies as st

from lib.ddb.response import Headers, Response

NAMES = st.sampled_from(["Host", "host", "HOST", "X-Amz-Date", "x-amz-date", "Accept"])
STEPS = st.lists(
    st.tuples(st.just("set"), NAMES, st.integers())
    | st.tuples(st.sampled_from(["delete", "pop"]), NAMES, st.none())
    | st.tuples(st.just("setdefault"), NAMES, st.integers())
)


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except KeyError:
        return KeyError


def step(headers: Any, kind: str, name: str, value: int | None) -> Any:
    match kind:
        case "set":
            headers[name] = value
        case "delete":
            del headers[name]
        case "pop":
            return headers.pop(name)
        case "setdefault":
            return headers.setdefault(name, value)
    return None


@given(st.dictionaries(st.sampled_from(["Host", "x-amz-date", "Accept"]), st.integers()), STEPS)
def test_whatever_is_done_to_them_they_hold_the_same(start: dict[str, int], steps: list[Any]) -> None:
    plain, quick = HeadersDict(start), Headers(start)
    for each in steps:
        assert outcome(lambda: step(quick, *each)) == outcome(lambda: step(plain, *each))  # noqa: B023
        assert list(quick.items()) == list(plain.items())
    assert list(quick) == list(plain)
    assert len(quick) == len(plain)
    assert repr(dict(quick.copy())) == repr(dict(plain.copy()))
    for name in ("host", "HOST", "nothing"):
        assert quick.get(name) == plain.get(name)
        assert (name in quick) == (name in plain)


def test_values_can_be_replaced_while_they_are_looped_over() -> None:
    headers = Headers({"Host": "a", "Accept": "b"})
    for name, value in headers.items():
        headers[name] = value.encode()
    assert dict(headers) == {"Host": b"a", "Accept": b"b"}


def test_a_copy_is_its_own() -> None:
    headers = Headers({"Host": "a"})
    headers.copy()["host"] = "b"
    assert headers["host"] == "a"


@pytest.mark.parametrize("name", ["content-type", "Content-Type"])
def test_a_response_is_botocores(name: str) -> None:
    def given() -> tuple[str, int, dict[str, str]]:
        return "http://x/", 200, {"content-type": "text/plain; charset=latin-1"}

    body = "ä".encode("latin-1")
    made, plain = Response(*given(), body), AWSResponse(*given(), _Stream(body))
    assert isinstance(made, AWSResponse)
    assert (made.url, made.status_code, made.headers[name]) == (plain.url, plain.status_code, plain.headers[name])
    assert (made.content, made.text) == (plain.content, plain.text) == (body, "ä")


def test_a_response_can_be_read_piece_by_piece() -> None:
    made = Response("http://x/", 200, {}, b"abc")
    assert (made.raw.read(1), b"".join(made.raw.stream()), made.content) == (b"a", b"bc", b"abc")


class _Stream(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()
