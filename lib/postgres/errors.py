"""The errors that Postgres causes, in their own module: services catch them without loading the driver."""

from __future__ import annotations


class DatabaseUnavailable(Exception):
    """Postgres does not respond, or refuses to serve; the message says where and why."""


class NotUnique(Exception):
    """Postgres wrote nothing: another row has a value that must be unique."""
