"""The keys of older handles: writes those that are missing, and finds the handles that cannot have one.

A handle without a key breaks the rule of lib/users/names.py, or another user has its key. Its user is found by the
exact handle only.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from lib.users.names import handle_key

_WITHOUT_KEY = "SELECT uuid, handle FROM users WHERE handle_key IS NULL ORDER BY created_at, uuid"
_WRITE = """
UPDATE users SET handle_key = %(key)s
WHERE uuid = %(uuid)s AND handle = %(handle)s
    AND NOT EXISTS (SELECT FROM users WHERE handle_key = %(key)s)
    AND NOT EXISTS (SELECT FROM reserved_handles WHERE handle_key IN (%(key)s, %(handle)s) AND user_uuid <> %(uuid)s)
"""
_HAS_KEY = "SELECT handle FROM users WHERE handle_key = %s"


@dataclass(frozen=True, slots=True)
class HandleProblem:
    """A user whose handle has no key, and the reason."""

    user_uuid: str
    handle: str
    reason: str


def fill_handle_keys(connection: psycopg.Connection) -> int:
    """Write the missing keys; return how many. Of two handles with one key, the older user's gets it."""
    rows = connection.execute(_WITHOUT_KEY).fetchall()
    keys = [{"uuid": uuid, "handle": handle, "key": key} for uuid, handle in rows if (key := handle_key(handle))]
    with connection.cursor() as cursor:
        cursor.executemany(_WRITE, keys)
        return cursor.rowcount if keys else 0


def handle_problems(connection: psycopg.Connection) -> list[HandleProblem]:
    """The users whose handles have no key."""
    rows = connection.execute(_WITHOUT_KEY).fetchall()
    return [HandleProblem(str(uuid), handle, _reason(connection, handle)) for uuid, handle in rows]


def _reason(connection: psycopg.Connection, handle: str) -> str:
    key = handle_key(handle)
    if key is None:
        return "breaks the rule"
    if row := connection.execute(_HAS_KEY, [key]).fetchone():
        return f"is another spelling of {row[0]}"
    return "has no key yet, or another user gave it up within 30 days"
