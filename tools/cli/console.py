"""Shared by all scripts in bin/: click commands, output, one-line errors, and confirmations.

A script prints data to standard output and status messages to standard error, so that it works in a pipe. It names its
expected errors; this module loads no other part of the system but the settings.

Handles, names, messages and errors may hold terminal escapes. The consoles print them as printable text.
"""

from __future__ import annotations

import json
import re
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from lib.config import ROOT, SettingsError

Function = Callable[..., Any]

_LEAST_WIDTH = 20
_LEAST_COLUMN = 12
# A uuid, a key with a uuid, or a sort key.
_ID = re.compile(r"\S*(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\d)\S*", re.IGNORECASE)
_UNLIMITED = 10_000  # columns, for a pipe or a file

# Control and formatting characters, surrogates, and separators of lines and paragraphs. Zero-width joiners are text.
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"

_CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True}
_HINT = "Start ./bin/dev in another terminal, or copy .env.example to .env and fill it in."


class PrintableConsole(Console):
    """A console that escapes every character that is not printable, except newlines and its own colors."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # No markup, emoji or highlighting, because the text is user content.
    return PrintableConsole(
        stderr=stderr,
        width=None if stream.isatty() else _UNLIMITED,
        markup=False,
        emoji=False,
        highlight=False,
    )


stdout = _console(stderr=False)
stderr = _console(stderr=True)


def print_status(text: str) -> None:
    """Print a line for the person at the terminal to standard error."""
    stderr.print(text, soft_wrap=True)


def print_data(text: str) -> None:
    """Print a line of data to standard output."""
    stdout.print(text, soft_wrap=True)


def print_folded(text: str, *, lead: str = "", style: str = "") -> None:
    """Print a line of data after `lead`. In a terminal, long lines fold to the right of the lead, but not in an id."""
    width = max(stdout.width - cell_len(lead), _LEAST_WIDTH, _id_width(text))
    for part in Text(one_line(text)).wrap(stdout, width) or [Text()]:
        stdout.print(Text(lead, style).append(part.plain.rstrip()), soft_wrap=True)
        lead = " " * cell_len(lead)


def one_line(text: str) -> str:
    """User content as a part of a line: `printable`, with newlines escaped too."""
    return printable(text).replace("\n", "\\n")


def printable(text: str) -> str:
    """User content as lines for a terminal, with the characters that control it escaped as in JSON."""
    return text if text.isprintable() else "".join(map(_escape, text))


def print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a bug to standard error."""
    print_status("".join(traceback.format_exception(kind, error, trace)).rstrip())


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, upright: bool = False) -> None:
    """Print rows of data under headings, in a pipe one line per row; None becomes `-`.

    A terminal that is too narrow folds the values, but no id. A table that is too wide even so becomes a block of lines
    for each row. With `upright`, so does a table of more than twice the terminal's width.
    """
    headings = [one_line(column) for column in columns]
    cells = [["-" if value is None else one_line(str(value)) for value in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD if stdout.is_terminal else None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in cells:
        table.add_row(*row)
    full = stdout.measure(table, options=stdout.options.update(max_width=_UNLIMITED)).maximum
    texts = list(zip(headings, *cells, strict=True))
    naturals = [max(map(cell_len, column)) for column in texts]
    leasts = [max(_LEAST_COLUMN, *map(_id_width, column)) for column in texts]
    widths = _fit(naturals, leasts, room=stdout.width - (full - sum(naturals)))
    if widths and not (upright and full > 2 * stdout.width):
        for column, width in zip(table.columns, widths, strict=True):
            column.width = width
        stdout.print(table)
        return
    margin = max(map(cell_len, headings), default=0) + 2
    for row in cells:
        for heading, value in zip(headings, row, strict=True):
            print_folded(value, lead=heading.ljust(margin), style="dim")
        print_data("")


def _fit(naturals: list[int], leasts: list[int], *, room: int) -> list[int]:
    """The widths of columns in a room; empty if the least widths of the columns do not fit."""
    widths = [min(pair) for pair in zip(naturals, leasts, strict=True)]
    spare = room - sum(widths)
    if spare < 0:
        return []
    by_need = sorted(range(len(widths)), key=lambda position: naturals[position] - widths[position])
    for index, position in enumerate(by_need):
        extra = min(naturals[position] - widths[position], spare // (len(widths) - index))
        widths[position] += extra
        spare -= extra
    return widths


def _id_width(text: str) -> int:
    """The columns of the longest id in a text; 0 without an id."""
    return max(map(cell_len, _ID.findall(text)), default=0)


class Refused(click.ClickException):
    """The script refuses to run; the message says why and what to do instead."""

    def show(self, file: object = None) -> None:
        print_status(self.message)


class Script(click.Command):
    """A command with its path as name. It reports its `expected` errors in one line.

    Exit status: the function's result (None is 0), 1 failed or refused, 2 wrong usage or settings, 130 interrupted.
    Any other error is a bug and keeps its traceback.
    """

    def __init__(self, *args: Any, expected: tuple[type[Exception], ...] = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._expected = expected

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        program = Path(sys.argv[0]).resolve()
        name = str(program.relative_to(ROOT)) if program.is_relative_to(ROOT) else program.name
        with _printable_usage_errors():
            return super().make_context(name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _printable_usage_errors():  # those of a subcommand
                status = super().invoke(ctx)
        except SettingsError as error:
            for problem in error.problems:
                print_status(problem)
            if any("missing" in problem for problem in error.problems):
                print_status(_HINT)
            status = 2
        except KeyboardInterrupt:
            print_status("Interrupted")
            status = 130
        except self._expected as error:
            raise Refused(_line(error)) from error
        ctx.exit(status or 0)


class ScriptGroup(Script, click.Group):
    """A script with subcommands."""


def script(
    doc: str | None, *expected: type[Exception], cls: type[Script] = Script, **settings: Any
) -> Callable[[Function], Any]:
    """Turn a function into a script with `doc` as help; `settings` go to click's context."""
    return click.command(cls=cls, help=_help(doc), expected=expected, context_settings=_CONTEXT | settings)


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a destructive action: `place` describes it without a password; a person types `name` to confirm."""

    place: str
    name: str
    is_local: bool


def destructive(word: Literal["prod", "--prod"] = "prod") -> Callable[[Function], Function]:
    """Give a command the argument `prod` and the option `--yes`; its function calls `confirm` before it acts.

    A script whose arguments may be any words has the option `--prod` instead.
    """

    def remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
        context.meta[f"{parameter.name}"] = value

    meaning = "required outside a local stack, to change data or to show private messages"
    hidden: dict[str, Any] = {"expose_value": False, "callback": remember}
    if word == "prod":
        prod = click.argument(word, required=False, type=click.Choice([word]), metavar="[prod]", help=meaning, **hidden)
    else:
        prod = click.option(word, is_flag=True, help=meaning, **hidden)
    yes = click.option("--yes", is_flag=True, help=f"with {word}: do not ask to type the target's name", **hidden)
    return lambda function: prod(yes(function))


def confirm(action: str, target: Target) -> None:
    """Return if the command line allows the action, such as "drop the database", else raise Refused."""
    context = click.get_current_context()
    yes = context.meta["yes"]
    if context.meta["prod"]:
        confirm_by_name(action, target, yes=yes)
    elif not target.is_local:
        [word] = [parameter.opts[0] for parameter in context.command.params if parameter.name == "prod"]
        missing = word if yes or sys.stdin.isatty() else f"{word} --yes"
        raise Refused(f"Refused to {action}: {target.place} is no local stack. If you mean it, add `{missing}`.")


def confirm_by_name(action: str, target: Target, *, yes: bool) -> None:
    """Return with `yes`, or if the person at the terminal types the target's name, else raise Refused."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"Refused to {action}: {target.place}: there is no terminal to ask at. Add --yes.")
    print_status(f"About to {action}: {target.place}")
    if ask(f"Type {target.name} to go on: ") != target.name:
        raise Refused(f"Nothing was done: the answer was not {target.name}")


def progress_bar() -> Progress:
    """A bar on the terminal that vanishes at its end; nothing in a pipe."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)


def ask(question: str) -> str:
    """The line that a person types at the terminal; empty at the end of the input."""
    try:
        return stderr.input(question).strip()
    except EOFError:
        return ""


def _escape(char: str) -> str:
    if unicodedata.category(char) not in _UNPRINTABLE or char in _JOINERS or char == "\n":
        return char
    return json.dumps(char)[1:-1]


@contextmanager
def _printable_usage_errors() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        raise click.UsageError(one_line(error.format_message()), error.ctx) from error


def _help(doc: str | None) -> str:
    """The text with click's mark against folding before every paragraph with indented lines."""
    paragraphs = (doc or "").strip().split("\n\n")
    return "\n\n".join(f"\b\n{text}" if "\n " in f"\n{text}" else text for text in paragraphs)


def _line(error: Exception) -> str:
    first = one_line(str(error).strip().partition("\n")[0])
    # A single word needs the error's class to be clear.
    return first if " " in first else f"{type(error).__name__}: {first}"
