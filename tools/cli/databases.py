"""The database as the scripts see it: a target of destructive actions. Not for the API."""

from __future__ import annotations

from lib.postgres import database_url
from tools.cli.console import Target


def database_target(url: str) -> Target:
    """The database as a destructive action names it."""
    return Target(database_url.describe(url), database_url.database_name(url), database_url.is_local(url))
