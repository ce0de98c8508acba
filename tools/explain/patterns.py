"""Shared parts of the scripts in bin/ddb/patterns: the options of a page, and the output of queries and their cost.

The rows come from the API's own services, so that a script lists what the API lists.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import click

from lib.aws.metering import start_metering
from lib.config import ApiSettings, DynamoDBSettings, SettingsError, load
from lib.ddb.cursors import CursorSigner
from lib.ddb.queries import Page
from lib.ddb.store import MessageStore
from services.validation import MAX_LIMIT
from tools.cli import console
from tools.cli.tables import connect, open_table
from tools.explain.formatting import describe_query
from tools.explain.recorder import record

T = TypeVar("T")


class Explorer:
    """Runs a service on a store and shows its rows, queries and cost."""

    def __init__(self, limit: int, cursor: str | None, every_page: bool) -> None:
        """Raises SettingsError, StoreUnavailable."""
        settings = load(DynamoDBSettings)
        self.limit = f"{limit}"
        self._cursor = cursor
        self._every_page = every_page
        self._client = connect(settings)
        self._secret = _secret_key(needed=cursor is not None)
        # Within one run any key can sign cursors.
        cursors = CursorSigner(self._secret or secrets.token_hex())
        self.store = MessageStore(open_table(self._client, settings), cursors)

    def show(self, read: Callable[[str | None], Page[T]], columns: Mapping[str, Callable[[T], object]]) -> None:
        """Print the page after the cursor, or all pages from there; `columns` maps a heading to a function of a row."""
        calls, usage = record(self._client), start_metering()
        page = read(self._cursor)
        rows = page.items
        while self._every_page and page.next_cursor:
            page = read(page.next_cursor)
            rows += page.items
        for call in calls:
            if call.operation == "Query":
                console.print_status(describe_query(call.arguments))
        console.print_table(columns, ([value(row) for value in columns.values()] for row in rows))
        console.print_status(f"Rows: {len(rows)}, requests: {usage.requests}, capacity units: {usage.capacity_units:g}")
        if page.next_cursor:
            next_page = f"Next page: --cursor {page.next_cursor}" if self._secret else "More follow: --all shows them"
            console.print_status(next_page)


def explores(function: console.Function) -> console.Function:
    """Give a command the options of a page, and its function an Explorer as `explorer`."""

    @click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=20, metavar="N", help="rows of a page")
    @click.option("--cursor", help="continue at this cursor of an earlier run; needs SECRET_KEY")
    @click.option("--all", "every_page", is_flag=True, help="print all following pages too")
    @wraps(function)
    def run(*args: Any, limit: int, cursor: str | None, every_page: bool, **parameters: Any) -> Any:
        return function(*args, explorer=Explorer(limit, cursor, every_page), **parameters)

    return run


def _secret_key(*, needed: bool) -> str | None:
    try:
        return load(ApiSettings).secret_key
    except SettingsError:
        if needed:
            raise
        return None
