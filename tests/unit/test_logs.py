"""Log lines: one line of JSON each; an exception appears by its type and place alone."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.logs import configure, log

LEVELS = ["debug", "info", "warning", "error"]


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """The output of a log that this test configures; afterwards the earlier handlers are back."""
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


def test_event_is_a_line_with_its_fields_in_order(out: io.StringIO) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    log("seeded", users=3, table="cruddur-messages", nothing=None)
    [line] = lines(out)
    assert before <= datetime.fromisoformat(line.pop("time")) <= datetime.now(UTC)
    assert list(line.items()) == [
        *(("level", "info"), ("event", "seeded"), ("users", 3), ("table", "cruddur-messages"), ("nothing", None))
    ]


def test_error_is_logged_by_its_type_and_place(out: io.StringIO) -> None:
    try:
        raise ValueError("a secret")
    except ValueError as error:
        log("failed", level=logging.ERROR, error=error)
    [line] = lines(out)
    assert (line["level"], line["error"]) == ("error", "ValueError")
    assert "test_logs.py" in line["at"][-1]
    assert "secret" not in out.getvalue()


def test_exception_of_a_library_is_logged_by_its_type(out: io.StringIO) -> None:
    try:
        raise ValueError("a secret")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")
    assert [(line["event"], line["error"]) for line in lines(out)] == [("it failed", "ValueError")]
    assert "secret" not in out.getvalue()


def test_any_value_fits_into_one_line(out: io.StringIO) -> None:
    text = 'two\nlines\r"quoted"\u2028\0 ☃'
    log("odd", value=text, other={1, 2}, where=object)
    [line] = lines(out)
    assert (line["value"], line["other"], line["where"]) == (text, "set", "type")
    assert len(out.getvalue().split("\n")) == 2


@pytest.mark.usefixtures("out")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("text", ["\ud800", "☃"])
def test_any_text_fits_into_any_encoding(encoding: str, text: str) -> None:
    written = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(written, encoding, write_through=True)):
        configure("info")
    log("odd", value=text)
    assert json.loads(written.getvalue())["value"] == text


@pytest.mark.parametrize("level", LEVELS)
def test_level_applies_to_events_of_this_system(out: io.StringIO, level: str) -> None:
    with redirect_stdout(out):
        configure(level)
    for name in LEVELS:
        log(name, level=logging.getLevelNamesMapping()[name.upper()])
    assert [line["level"] for line in lines(out)] == LEVELS[LEVELS.index(level) :]


def test_libraries_log_warnings_and_errors_only(out: io.StringIO) -> None:
    with redirect_stdout(out):
        configure("debug")
    for name in ("botocore", "urllib3", "psycopg"):
        logging.getLogger(name).info("a whole request")
        logging.getLogger(name).warning("%s is slow", name)
    assert [line["event"] for line in lines(out)] == ["botocore is slow", "urllib3 is slow", "psycopg is slow"]


def test_lines_of_threads_do_not_mix(out: io.StringIO) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: log("tick", text="x" * 500), range(200)))
    assert len(lines(out)) == 200
