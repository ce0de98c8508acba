"""What a new system holds, so that somebody can sign in and find something. Running it again adds nothing."""

from __future__ import annotations

from lib.db import Database


def seed_users(database: Database) -> int:
    """Add the users of `db/seed.sql` that are not there; how many were added. Raises DatabaseUnavailable."""
    return database.script("db/seed.sql")
