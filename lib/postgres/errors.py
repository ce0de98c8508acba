"""The errors that Postgres causes. Apart from the database module: services catch them without its driver."""

from __future__ import annotations


class DatabaseUnavailable(Exception):
    """Postgres does not answer, or refuses to serve; the message says where and why."""


class NotUnique(Exception):
    """Nothing was written: another row holds a value that must be unique."""
