"""Log lines: JSON, one each, with exceptions told by their kind and place alone."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.logs import configure, log


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Where a log that was configured in this test goes; the logging of before is back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    with redirect_stdout(written):
        configure("info")
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_event_is_a_line_with_its_fields_in_order(out: io.StringIO) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    log("seeded", users=3, table="cruddur-messages", nothing=None)
    [line] = lines(out)
    assert before <= datetime.fromisoformat(line.pop("time")) <= datetime.now(UTC)
    assert list(line.items()) == [
        *(("level", "info"), ("event", "seeded"), ("users", 3), ("table", "cruddur-messages"), ("nothing", None))
    ]


def test_an_error_is_told_by_its_kind_and_place_alone(out: io.StringIO) -> None:
    try:
        raise ValueError("what people wrote")
    except ValueError as error:
        log("failed", level=logging.ERROR, error=error)
    [line] = lines(out)
    assert (line["level"], line["error"]) == ("error", "ValueError")
    assert "test_logs.py" in line["at"][-1]
    assert "people" not in out.getvalue()


def test_another_librarys_exception_is_told_the_same_way(out: io.StringIO) -> None:
    try:
        raise ValueError("what people wrote")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    assert [(line["event"], line["error"]) for line in lines(out)] == [("it failed", "ValueError")]
    assert "people" not in out.getvalue()


def test_a_line_stays_one_line(out: io.StringIO) -> None:
    log("odd", value='two\nlines\r"quoted"\u2028\0 ☃')
    assert len(out.getvalue().split("\n")) == 2
    assert json.loads(out.getvalue())["value"] == 'two\nlines\r"quoted"\u2028\0 ☃'


def test_a_value_that_is_no_json_does_not_lose_the_line(out: io.StringIO) -> None:
    log("odd", value={1, 2}, where=object)
    assert [(line["value"], line["where"]) for line in lines(out)] == [("set", "type")]


@pytest.mark.usefixtures("out")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("text", ["\ud800", "☃"])
def test_no_text_is_too_strange_for_the_stream(encoding: str, text: str) -> None:
    written = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(written, encoding, write_through=True)):
        configure("info")
    log("odd", value=text)
    assert json.loads(written.getvalue())["value"] == text


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_is_that_of_this_systems_events(out: io.StringIO, level: str, heard: list[str]) -> None:
    with redirect_stdout(out):
        configure(level)
    for each in ("debug", "info", "warning", "error"):
        log(each, level=logging.getLevelNamesMapping()[each.upper()])
    assert [line["level"] for line in lines(out)] == heard


def test_other_libraries_are_heard_from_warnings_on_at_every_level(out: io.StringIO) -> None:
    with redirect_stdout(out):
        configure("debug")
    for name in ("botocore", "urllib3", "psycopg"):
        logging.getLogger(name).info("a request with all that is in it")
        logging.getLogger(name).warning("%s is slow", name)
    assert [line["event"] for line in lines(out)] == ["botocore is slow", "urllib3 is slow", "psycopg is slow"]


def test_configuring_again_doubles_nothing(out: io.StringIO) -> None:
    with redirect_stdout(out):
        configure("info")
    log("once")
    assert len(lines(out)) == 1


def test_threads_do_not_mix_their_lines(out: io.StringIO) -> None:
    threads = [threading.Thread(target=lambda: [log("tick", text="x" * 500) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(out)) == 200
