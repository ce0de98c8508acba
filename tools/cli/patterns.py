"""What the scripts in bin/ddb/patterns share: the options of a page, and what a run tells beside its rows.

The rows themselves come from the services that the API calls, so that a script lists what the API lists.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Mapping
from typing import TypeVar

from lib.aws.metering import start_metering
from lib.config import ApiSettings, DynamoDBSettings, SettingsError, load
from lib.ddb.cursors import CursorSigner
from lib.ddb.queries import Page
from lib.ddb.store import MessageStore
from tools.cli import console
from tools.cli.tables import connect, open_table
from tools.explain.formatting import describe_query
from tools.explain.recorder import record

T = TypeVar("T")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options of a page."""
    made = console.parser(doc)
    made.add_argument("--limit", help="rows of a page, 1 to 100 (20)")
    made.add_argument("--cursor", help="where to go on, as an earlier run named it; needs SECRET_KEY")
    made.add_argument("--all", action="store_true", help="every page from there on")
    return made


class Explorer:
    """A store whose queries are shown with their cost."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Raises SettingsError, StoreUnavailable."""
        self._arguments = arguments
        settings = load(DynamoDBSettings)
        self._client = connect(settings)
        self._secret = _secret_key(needed=arguments.cursor is not None)
        # Within one run a cursor may be signed with anything.
        cursors = CursorSigner(self._secret or secrets.token_hex())
        self.store = MessageStore(open_table(self._client, settings), cursors)

    def show(self, read: Callable[[str | None], Page[T]], columns: Mapping[str, Callable[[T], object]]) -> None:
        """Print the page after the given cursor, or all from there; `columns` gives a row's values by their names."""
        calls, usage = record(self._client), start_metering()
        page = read(self._arguments.cursor)
        rows = page.items
        while self._arguments.all and page.next_cursor:
            page = read(page.next_cursor)
            rows += page.items
        for call in calls:
            if call.operation == "Query":
                console.say(describe_query(call.arguments))
        console.write_table(columns, ([value(row) for value in columns.values()] for row in rows))
        console.say(f"Rows: {len(rows)}, requests: {usage.requests}, capacity units: {usage.capacity_units:g}")
        if page.next_cursor:
            console.say(f"Next page: --cursor {page.next_cursor}" if self._secret else "More follow: --all shows them")


def _secret_key(*, needed: bool) -> str | None:
    try:
        return load(ApiSettings).secret_key
    except SettingsError:
        if needed:
            raise
        return None
