"""The database as a target of destructive actions. For scripts, not for the API."""

from __future__ import annotations

from lib.postgres import database_url
from tools.cli.console import Target


def database_target(url: str) -> Target:
    """The database of this URL as a target."""
    return Target(database_url.describe(url), database_url.database_name(url), database_url.is_local(url))
