"""Shared by bin/ddb/explain and the scripts in bin/ddb/patterns: a store that records its calls, and lists of rows.

The rows come from the API's own services, so that a script lists what the API lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import TypeVar

import click

from lib.aws.metering import start_metering
from lib.config import ApiSettings, DynamoDBSettings, SettingsError, load
from lib.ddb.cursors import CursorSigner
from lib.ddb.queries import Page
from lib.ddb.store import MessageStore
from services.validation import MAX_LIMIT
from tools.cli import console
from tools.cli.tables import connect, open_table, table_target
from tools.explain.item_diff import ItemReader
from tools.explain.recorder import describe_query, record

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class _SigningSettings(ApiSettings, DynamoDBSettings):
    """What a page after a cursor needs."""


class RecordedStore:
    """A store on the configured table, and the calls that it sends.

    A read writes if it migrates a conversation of an older backend. Its command confirms that, unless `is_confirmed`.
    """

    def __init__(
        self,
        store_type: type[MessageStore] = MessageStore,
        *,
        secret_keys: Sequence[str] = (),
        is_confirmed: bool = False,
    ) -> None:
        """Raises SettingsError, StoreUnavailable."""
        settings = load(DynamoDBSettings)
        client = connect(settings)
        self.table = open_table(client, settings)
        # Within one run any key can sign cursors.
        self.store = store_type(self.table, CursorSigner(*secret_keys or [token_hex()]))
        reader = ItemReader(connect(settings), settings.ddb_table)
        self.calls = record(client, before_write=self._before_write, reader=reader)
        self._target, self._is_confirmed = table_target(settings), is_confirmed

    def _before_write(self) -> None:
        if not self._is_confirmed:
            console.confirm("migrate the conversation", self._target)
            self._is_confirmed = True


class RowLister(RecordedStore):
    """Lists rows of a service, and prints its queries and their cost."""

    def __init__(self, limit: int, cursor: str | None, every_page: bool) -> None:
        """Raises SettingsError, StoreUnavailable."""
        try:
            self._secret_keys = load(_SigningSettings).secret_keys
        except SettingsError:
            if cursor:
                raise
            self._secret_keys = []
        super().__init__(secret_keys=self._secret_keys)
        self.limit = f"{limit}"
        self._cursor = cursor
        self._every_page = every_page

    def print_rows(self, read: Callable[[str | None], Page[T]], columns: Mapping[str, Callable[[T], object]]) -> None:
        """Print the page after the cursor, or all pages from there; `columns` maps a heading to a function of a row."""
        self.calls.clear()
        usage = start_metering()
        page = read(self._cursor)
        rows = page.items
        while self._every_page and page.next_cursor:
            page = read(page.next_cursor)
            rows += page.items
        for call in self.calls:
            if call.operation == "Query":
                console.print_status(describe_query(call.arguments))
        console.print_table(columns, ([value(row) for value in columns.values()] for row in rows))
        console.print_status(f"Rows: {len(rows)}, requests: {usage.requests}, capacity units: {usage.capacity_units:g}")
        if page.next_cursor:
            command = f"Next page: --cursor {page.next_cursor}"
            console.print_status(command if self._secret_keys else "More follow: --all shows them")


def page_options(function: console.Function) -> console.Function:
    """Give a command the options of a page, which are the arguments of RowLister."""
    limit = click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=20, metavar="N", help="rows of a page")
    cursor = click.option("--cursor", help="start after this cursor, which an earlier run printed; needs SECRET_KEY")
    every_page = click.option("--all", "every_page", is_flag=True, help="print all following pages too")
    return limit(cursor(every_page(function)))
