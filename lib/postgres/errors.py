"""The errors of Postgres. They have their own module, so that services catch them without loading the driver."""

from __future__ import annotations


class DatabaseUnavailable(Exception):
    """Postgres does not respond, refuses the connection or the statement, or has another schema.

    The message has the address, the reason, and the script that mends it.
    """


class NotUnique(Exception):
    """Postgres wrote nothing: another row has a value that must be unique."""
