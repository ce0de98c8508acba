"""The errors of Postgres. They have their own module, so that services catch them without loading the driver."""

from __future__ import annotations


class DatabaseUnavailable(Exception):
    """Postgres does not respond, or refuses the connection; the message has the address and the reason."""


class NotUnique(Exception):
    """Postgres wrote nothing: another row has a value that must be unique."""
