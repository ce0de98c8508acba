"""What the scripts in bin/ share: arguments, output, errors as one line each, and the guard before destruction.

Data goes to standard output and talk to standard error, so that a script can be piped. Knows no other module than
the settings: each script names the errors that it reports.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from functools import wraps
from itertools import groupby
from pathlib import Path
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lib.config import ROOT, SettingsError

Main = Callable[[list[str] | None], int]

_LEAST_WIDTH = 20
_UNLIMITED = 10_000  # columns; a pipe or a file has no width to fit into

# What would steer a terminal or turn its text round: control characters, line separators, directional overrides.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_HINT = "Start ./bin/dev in another terminal, or copy .env.example to .env and fill it in."


class Refused(Exception):
    """The script does not do what it was asked; the message says why and what to do."""


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # No markup, emoji or highlighting: what is printed is people's data, not ours.
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else _UNLIMITED,
        markup=False,
        emoji=False,
        highlight=False,
    )


data = _console(stderr=False)
talk = _console(stderr=True)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    talk.print(text, soft_wrap=True)


def write(text: str) -> None:
    """A line of data."""
    data.print(text, soft_wrap=True)


def write_folded(text: str, *, lead: str = "", style: str = "") -> None:
    """A line of data behind its lead; in a terminal it is folded so that it stays to the right of that."""
    for part in Text(one_line(text)).wrap(data, max(data.width - cell_len(lead), _LEAST_WIDTH)) or [Text()]:
        data.print(Text(lead, style).append(part.plain.rstrip()), soft_wrap=True)
        lead = " " * cell_len(lead)


def one_line(text: str) -> str:
    """People's text as a part of a line, its control characters spelled out as JSON does."""
    return _CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], text)


def write_table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, upright: bool = False) -> None:
    """Rows of data under their headings, each on one line of a pipe; None is shown as `-`.

    In a terminal that is too narrow, values are folded. If it is less than half as wide as they are, and they may
    stand `upright`, each row becomes a block of lines.
    """
    columns = list(columns)
    cells = [["-" if value is None else one_line(str(value)) for value in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD if data.is_terminal else None, pad_edge=False)
    for column in columns:
        table.add_column(one_line(column), overflow="fold")
    for row in cells:
        table.add_row(*row)
    wanted = data.measure(table, options=data.options.update(max_width=_UNLIMITED)).maximum
    if upright and wanted > 2 * data.width:
        table = Table(box=box.SIMPLE, pad_edge=False, show_header=False)
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for row in cells:
            for column, value in zip(columns, row, strict=True):
                table.add_row(one_line(column), value, end_section=column == columns[-1])
    data.print(table)


def script(*failures: type[Exception]) -> Callable[[Main], Main]:
    """Decorate a script's `main(argv)`: its failures become a line each, and an exit status.

    0 done, 1 failed or refused, 2 wrong usage or settings, 130 interrupted. Errors that are not named here or in
    `failures` are bugs and keep their traceback.
    """

    reported: tuple[type[Exception], ...] = (Refused, *failures)

    def decorate(main: Main) -> Main:
        @wraps(main)
        def run(argv: list[str] | None = None) -> int:
            try:
                return main(argv)
            except SettingsError as error:
                for problem in error.problems:
                    say(problem)
                if any("missing" in problem for problem in error.problems):
                    say(_HINT)
                return 2
            except KeyboardInterrupt:
                say("Interrupted")
                return 130
            except reported as error:
                say(_line(error))
                return 1

        return run

    return decorate


class _Help(argparse.RawDescriptionHelpFormatter):
    """Folds a description's paragraphs to the terminal; lines that are indented stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for as_it_is, part in groupby(text.strip().splitlines(), lambda line: not line or line.startswith(" ")):
            written = list(part)
            lines += written if as_it_is else textwrap.wrap(" ".join(written), width, break_on_hyphens=False)
        return "".join(f"{line}\n" for line in lines)


def parser(doc: str | None, *, guarded: bool = False) -> argparse.ArgumentParser:
    """A parser that describes the script by its docstring; `guarded` adds what `confirm_destruction` needs."""
    program = Path(sys.argv[0]).resolve()
    made = argparse.ArgumentParser(
        prog=str(program.relative_to(ROOT)) if program.is_relative_to(ROOT) else program.name,
        description=doc,
        formatter_class=_Help,
    )
    if guarded:
        guard(made)
    return made


def guard(parser: argparse.ArgumentParser, word: Literal["prod", "--prod"] = "prod") -> None:
    """Add what `confirm_destruction` needs; `--prod` is for scripts that take any words as arguments."""
    meaning = "needed for anything but a local stack"
    if word == "prod":
        parser.add_argument(word, nargs="?", choices=[word], help=meaning)
    else:
        parser.add_argument(word, action="store_true", help=meaning)
    parser.add_argument("--yes", action="store_true", help=f"with {word}: do not ask to type the target's name")
    parser.set_defaults(consent=word)


def at_least_one(text: str) -> int:
    """The type of an argument that counts something."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def confirm_destruction(arguments: argparse.Namespace, *, action: str, target: str, name: str, local: bool) -> None:
    """Return if the action may happen, else raise Refused.

    `action` is a verb with its object ("drop the database"), `target` says exactly where (never with a password),
    `name` is what has to be typed, `local` whether a local stack is meant.
    """
    if not arguments.prod:
        if local:
            return
        raise Refused(f"Refused to {action}: {target} is no local stack. If you mean it, say `{arguments.consent}`.")
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise Refused(
            f"Refused to {action}: {target} is no local stack, and there is no terminal to ask at. Add --yes."
        )
    say(f"About to {action}: {target}")
    try:
        typed = talk.input(f"Type {name} to go on: ")
    except EOFError:
        typed = ""
    if typed.strip() != name:
        raise Refused(f"Nothing was done: {name} was not typed")


def _line(error: Exception) -> str:
    first = one_line(str(error).strip().partition("\n")[0])
    # A bare code, or nothing, says too little without the error's kind.
    return first if " " in first else f"{type(error).__name__}: {first}"
