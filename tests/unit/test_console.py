"""The shared parts of the scripts: exit statuses, readable output, and the confirmation of destructive actions."""

from __future__ import annotations

import io
import sys
from uuid import uuid4

import click
import pytest
from rich.text import Text

from lib.config import SettingsError
from tests.support.scripts import exit_status
from tools.cli import console

HINT = "Start ./bin/dev in another terminal, or copy .env.example to .env and fill it in.\n"


class Known(Exception):
    """An error that the script under test expects."""


def failing(error: BaseException) -> click.Command:
    @console.script("Fail.", Known)
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "printed"),
    [
        (
            SettingsError(["A is missing: the first", "B is malformed"]),
            2,
            f"A is missing: the first\nB is malformed\n{HINT}",
        ),
        (SettingsError(["B is malformed"]), 2, "B is malformed\n"),
        (console.Refused("not that"), 1, "not that\n"),
        (Known("it is \x1b[2J broken\nand more that nobody reads"), 1, "it is \\u001b[2J broken\n"),
        (Known("Throttled"), 1, "Known: Throttled\n"),
        (KeyboardInterrupt(), 130, "Interrupted\n"),
    ],
)
def test_expected_error_becomes_lines_and_a_status(
    error: BaseException, status: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(failing(error), []) == status
    assert tuple(capsys.readouterr()) == ("", printed)


def test_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())([])


@pytest.mark.parametrize(("result", "status"), [(None, 0), (0, 0), (3, 3)])
def test_result_of_the_function_is_the_exit_status(result: int | None, status: int) -> None:
    assert exit_status(console.script("Exit.")(lambda: result), []) == status


def test_table_in_a_pipe_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    console.print_table(["name", "text"], [["[bold]a[/bold]", ":smile:"], [None, long]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["name", "text"], ["[bold]a[/bold]", ":smile:"], ["-", long]]


def test_rows_without_columns_are_empty_lines(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table([], [[], []])
    assert capsys.readouterr().out == "\n\n"


def use_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The output for a terminal with so many columns."""
    out = io.StringIO()
    stdout = console.PrintableConsole(file=out, width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(console, "stdout", stdout)
    return out


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    return use_terminal(40, monkeypatch)


@pytest.mark.parametrize("width", [20, 40, 80, 100, 120, 200])
def test_ids_stay_whole_on_every_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = use_terminal(width, monkeypatch)
    ids = [str(uuid4()).upper(), f"MSG#{uuid4()}", "2026-01-04T19:06:42.584705+00:00"]
    console.print_table(["uuid", "key", "created_at", "message"], [[*ids, "some words " * 20], [*ids, None]])
    lines = out.getvalue().splitlines()
    for id_ in ids:
        assert sum(id_ in line for line in lines) == 2
    assert max(map(len, lines)) <= max(width, 60)
    out.truncate(0)
    console.print_folded(f"words before {ids[0]} and after", lead="  lead ")
    assert ids[0] in out.getvalue()


@pytest.mark.parametrize(
    ("length", "lines"),
    [
        (50, [["name", "text"], ["a", "x" * 31], ["x" * 19], ["b", "y"]]),
        (100, [["name", "a"], ["text", "x" * 34], ["x" * 34], ["x" * 32], ["name", "b"], ["text", "y"]]),
    ],
)
def test_very_wide_row_becomes_a_block_of_lines(length: int, lines: list[list[str]], terminal: io.StringIO) -> None:
    console.print_table(["name", "text"], [["a", "x" * length], ["b", "y"]], upright=True)
    assert [line.split() for line in terminal.getvalue().splitlines() if line.strip(" ─")] == lines


def test_line_is_folded_beside_its_lead(terminal: io.StringIO) -> None:
    console.print_folded("words that are folded, 🍵 included, and more", lead="  lead ")
    assert terminal.getvalue().splitlines() == ["  lead words that are folded, 🍵", "       included, and more"]


def test_control_characters_are_escaped_and_others_are_unchanged() -> None:
    assert console.one_line("a\n\x1b[2J\x7f\x9b\u2028\u202e\u2066") == r"a\n\u001b[2J\u007f\u009b\u2028\u202e\u2066"
    assert console.one_line("\u200b\ufeff\ud800\U000e0061") == r"\u200b\ufeff\ud800\udb40\udc61"
    for text in ("👩‍👩‍👧 نعم [b] \\", "é ❤️ e\u0301 a\u00a0b\u3000c"):
        assert console.one_line(text) == text


def test_script_prints_data_as_printable_text(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "a\x1b[8m\x9b\u202e\r\x07\x08b"
    console.print_data(evil)
    console.print_status(evil)
    console.print_folded(evil, lead=evil)
    console.print_table([evil], [[evil]])
    console.stdout.print(Text(evil, "bold"))
    printed = capsys.readouterr()
    for line in (*printed.out.splitlines(), *printed.err.splitlines()):
        assert line.isprintable()
        assert "a" in line
        assert r"\u001b[8m\u009b\u202e" in line


def test_wrong_argument_is_printed_as_printable_text(capsys: pytest.CaptureFixture[str]) -> None:
    group = console.script("Exit.", cls=console.ScriptGroup)(lambda: None)
    group.command("sub")(lambda: None)
    for command, words in ((console.script("Exit.")(lambda: None), []), (group, ["sub"])):
        assert exit_status(command, [*words, "a\x1b[8mb"]) == 2
        assert r"a\u001b[8mb" in capsys.readouterr().err


def test_colors_of_a_script_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    terminal = console.PrintableConsole(file=out, force_terminal=True, color_system="standard")
    monkeypatch.setattr(console, "stdout", terminal)
    console.print_folded("a\x1b[8mb", style="bold")
    assert out.getvalue() == "\x1b[1ma\\u001b[8mb\x1b[0m\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


REFUSED = "Refused to drop it: db.example.com/cruddur"
UNSURE = f"{REFUSED} is no local stack. If you mean it, add `prod`.\n"
QUESTION = "About to drop it: db.example.com/cruddur\nType cruddur to go on: "
OTHER_NAME = "Nothing was done: the answer was not cruddur\n"


@pytest.mark.parametrize(
    ("words", "is_local", "typed", "status", "printed"),
    [
        ([], True, None, 0, ""),
        (["prod", "--yes"], False, None, 0, ""),
        (["--yes", "prod"], True, None, 0, ""),
        (["prod"], False, "cruddur\n", 0, QUESTION),
        ([], False, "cruddur\n", 1, UNSURE),
        (["--yes"], False, "cruddur\n", 1, UNSURE),
        (["prod"], False, None, 1, f"{REFUSED}: there is no terminal to ask at. Add --yes.\n"),
        (["prod"], False, "crudder\n", 1, OTHER_NAME),
        (["prod"], False, "", 1, OTHER_NAME),
        (["prod"], True, "something\n", 1, OTHER_NAME),
        (["production"], True, None, 2, "'production' is not 'prod'.\n"),
    ],
)
def test_destructive_action_needs_the_confirmation_of_its_target(
    words: list[str],
    is_local: bool,
    typed: str | None,
    status: int,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("cruddur\n") if typed is None else Terminal(typed))
    dropped = []

    @console.script("Drop it.")
    @console.destructive()
    def main() -> None:
        console.confirm("drop it", console.Target("db.example.com/cruddur", "cruddur", is_local))
        dropped.append(True)

    assert exit_status(main, words) == status
    assert bool(dropped) == (status == 0)
    assert capsys.readouterr().err.endswith(printed)


def test_help_folds_all_lines_but_the_indented_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    example = f"  bin/ddb/partiql {'x' * 60}"
    command = console.script(f"Folds what is too long for a line\nof the terminal.\n\n{example}\n\nEnd.")(lambda: None)
    assert exit_status(command, ["--help"]) == 0
    paragraphs = capsys.readouterr().out.split("\n\n")
    assert paragraphs[1:4] == ["  Folds what is too long for a line of the\n  terminal.", f"  {example}", "  End."]
