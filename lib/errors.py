"""What can go wrong at Postgres. Apart from lib/db.py, so that who handles these errors need not load its driver."""

from __future__ import annotations


class DatabaseUnavailable(Exception):
    """Postgres does not answer, or refuses to serve; the message says where and why."""


class NotUnique(Exception):
    """Nothing was written: another row holds a value that must be unique."""
