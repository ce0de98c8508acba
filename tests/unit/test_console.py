"""What the scripts share: exit statuses, readable output, and the guard before destruction."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest
from rich.console import Console

from lib.config import SettingsError
from tools.cli import console


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


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 40 columns gets."""
    out = io.StringIO()
    monkeypatch.setattr(console, "data", Console(file=out, width=40, force_terminal=True, color_system=None))
    return out


def lines_of(out: io.StringIO) -> list[list[str]]:
    return [line.split() for line in out.getvalue().splitlines() if line.strip(" ─")]


def test_a_row_that_is_far_too_wide_for_a_terminal_stands_upright(terminal: io.StringIO) -> None:
    console.write_table(["name", "text"], [["a", "x" * 100], ["b", "y"]], upright=True)
    assert lines_of(terminal)[:2] == [["name", "a"], ["text", "x" * 31]]
    assert lines_of(terminal)[-2:] == [["name", "b"], ["text", "y"]]


def test_a_row_that_fits_when_it_is_folded_does_not(terminal: io.StringIO) -> None:
    console.write_table(["name", "text"], [["a", "x" * 50]], upright=True)
    assert lines_of(terminal)[0] == ["name", "text"]


def test_a_line_is_folded_beside_its_lead(terminal: io.StringIO) -> None:
    console.write_folded("words that are folded, 🍵 included, and more", lead="  lead ")
    assert terminal.getvalue().splitlines() == [
        "  lead words that are folded, 🍵",
        "       included, and more",
    ]


def test_control_characters_are_spelled_out_and_everything_else_stays() -> None:
    assert console.one_line("a\n\x1b[2J\x7f\x9b\u2028\u202e\u2066") == r"a\n\u001b[2J\u007f\u009b\u2028\u202e\u2066"
    assert console.one_line("👩‍👩‍👧 نعم [b] \\") == "👩‍👩‍👧 نعم [b] \\"


def test_an_error_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run_failing(Known("it is \x1b[2J gone"))
    assert capsys.readouterr().err == "it is \\u001b[2J gone\n"


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
    assert "About to drop the database: db.example.com/cruddur" in capsys.readouterr().err


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


def test_a_description_is_folded_to_the_terminal_but_for_indented_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "42")
    example = f"  bin/ddb/partiql {'x' * 60}"
    described = console.parser(
        f"Folds what is too long for a line\nof the terminal.\n\n{example}\n\nEnd."
    ).format_help()
    folded = ["Folds what is too long for a line of the", "terminal.", "", example, "", "End.", ""]
    assert "\n".join(folded) in described
