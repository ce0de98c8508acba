"""What the scripts share: exit statuses, readable output, and the guard before destruction."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from lib import console
from lib.config import SettingsError


class Known(Exception):
    """An error that the script under test names."""


def run_failing(error: BaseException) -> int:
    @console.script(Known)
    def main(argv: list[str] | None = None) -> int:
        raise error

    return main([])


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (SettingsError(["A is missing: the first", "B is malformed"]), 2, "A is missing: the first\nB is malformed\n"),
        (console.Refused("not that"), 1, "not that\n"),
        (Known("it is broken\nand more that nobody reads"), 1, "it is broken\n"),
        (Known("Throttled"), 1, "Known: Throttled\n"),
        (KeyboardInterrupt(), 130, "Interrupted\n"),
    ],
)
def test_a_failure_becomes_lines_and_a_status(
    error: BaseException, status: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_failing(error) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(shown)
    assert "Traceback" not in printed.err


def test_missing_settings_bring_a_hint_and_malformed_ones_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    run_failing(SettingsError(["A is missing: the first"]))
    assert "./bin/dev" in capsys.readouterr().err
    run_failing(SettingsError(["B is malformed"]))
    assert "./bin/dev" not in capsys.readouterr().err


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_failing(ZeroDivisionError())


def test_a_table_in_a_pipe_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    console.write_table(["name", "text"], [["[bold]a[/bold]", ":smile:"], [None, long]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["name", "text"], ["[bold]a[/bold]", ":smile:"], ["-", long]]


def test_wrong_words_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        console.parser("Does it.", guarded=True).parse_args(["production"])
    assert exit_.value.code == 2
    assert "production" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Ask for a drop of `cruddur` with these words, somebody typing `typed` (None: no terminal)."""

    def ask(*words: str, local: bool, typed: str | None = None) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO() if typed is None else Terminal(typed))
        arguments = console.parser("Drop it.", guarded=True).parse_args(list(words))
        console.confirm_destruction(
            arguments, action="drop the database", target="db.example.com/cruddur", name="cruddur", local=local
        )

    return ask


def test_a_local_stack_needs_no_confirmation(guard: Callable[..., None]) -> None:
    guard(local=True)


@pytest.mark.parametrize("words", [["prod", "--yes"], ["--yes", "prod"]])
def test_prod_and_yes_go_ahead_without_a_terminal(guard: Callable[..., None], words: list[str]) -> None:
    guard(*words, local=False)


def test_prod_goes_ahead_when_the_name_is_typed(guard: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    guard("prod", local=False, typed="cruddur\n")
    assert "About to drop the database at db.example.com/cruddur" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "local", "typed", "why"),
    [
        ([], False, "cruddur\n", "no local stack"),
        (["--yes"], False, "cruddur\n", "no local stack"),
        (["prod"], False, None, "no terminal"),
        (["prod"], False, "crudder\n", "not typed"),
        (["prod"], False, "\n", "not typed"),
        (["prod"], False, "", "not typed"),
        (["prod"], True, "something\n", "not typed"),
    ],
)
def test_the_guard_refuses(
    guard: Callable[..., None], words: list[str], local: bool, typed: str | None, why: str
) -> None:
    with pytest.raises(console.Refused, match=why):
        guard(*words, local=local, typed=typed)
