"""The users in Postgres: who is behind a token, and who has a handle.

Owns the `users` queries and the memory of who signed in lately. Knows no HTTP and no token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import TTLCache

from lib.cache import Memory

if TYPE_CHECKING:  # who needs a User alone, loads neither psycopg nor boto3
    from lib.cognito import PoolUser
    from lib.db import Database, Row

_REMEMBERED_SECONDS = 60
_REMEMBERED_USERS = 10_000
_MAX_CHARS = 255  # as the table's own check


@dataclass(frozen=True, slots=True)
class User:
    """A user as messages show them."""

    uuid: str
    handle: str
    display_name: str


class UserDirectory:
    """Finds users; both ways raise DatabaseUnavailable."""

    def __init__(self, database: Database, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._known: Memory[str, User] = Memory(TTLCache(_REMEMBERED_USERS, _REMEMBERED_SECONDS, timer))

    def by_cognito_user_id(self, cognito_user_id: str) -> User | None:
        """The user behind a token's `sub`, remembered for a minute at most.

        Only hits are remembered: who signs up now is known in the next request.
        """
        known = self._known.get(cognito_user_id)
        if known or not _storable(cognito_user_id):
            return known
        user = _to_user(self._database.one("users/by_cognito_user_id", cognito_user_id=cognito_user_id))
        if user:
            self._known.put(cognito_user_id, user)
        return user

    def by_handle(self, handle: str) -> User | None:
        """The user with this handle, exactly as it is written. Text that no row can hold is simply nobody's."""
        return _to_user(self._database.one("users/by_handle", handle=handle)) if _storable(handle) else None


@dataclass(frozen=True, slots=True)
class Link:
    """What `link_cognito_users` did; who matched nobody is named by handle or user name."""

    changed: int
    unchanged: int
    ambiguous: list[str]
    without_cognito_user: list[str]
    without_row: list[str]

    def report(self) -> list[str]:
        """The same as sentences."""
        named = {
            "Handles that several Cognito users claim, left as they were": self.ambiguous,
            "Users without a Cognito user": self.without_cognito_user,
            "Cognito users without a row in Postgres": self.without_row,
        }
        counts = f"Cognito ids: {self.changed} written, {self.unchanged} already right"
        return [counts, *(f"{what}: {', '.join(who)}" for what, who in named.items() if who)]


def link_cognito_users(database: Database, pool_users: Iterable[PoolUser]) -> Link:
    """Write each Cognito `sub` to the user whose handle is its preferred_username: all of them or none.

    A user whom Cognito does not know keeps the id they have, unless it is another user's by now.
    """
    claims: dict[str | None, list[PoolUser]] = {}
    for user in pool_users:
        claims.setdefault(user.preferred_username, []).append(user)
    nameless = claims.pop(None, [])
    subs = {handle: users[0].sub for handle, users in claims.items() if handle and len(users) == 1}
    with database.transaction() as queries:
        pool = {"handles": list(subs), "subs": list(subs.values())}
        queries.execute("users/release_cognito_user_ids", **pool)  # first, because the column is UNIQUE
        changed = queries.execute("users/set_cognito_user_ids", **pool)
        rows = {row["handle"] for row in queries.all("users/all")}
    return Link(
        changed=changed,
        unchanged=len(rows & subs.keys()) - changed,
        ambiguous=sorted(handle for handle, users in claims.items() if handle and len(users) > 1),
        without_cognito_user=sorted(rows - claims.keys()),
        without_row=sorted([*(subs.keys() - rows), *(user.label for user in nameless)]),
    )


def _to_user(row: Row | None) -> User | None:
    return User(str(row["uuid"]), row["handle"], row["display_name"]) if row else None


def _storable(text: str) -> bool:
    """Whether Postgres can hold this text: no NUL, no lone surrogate, no more than the column takes."""
    return len(text) <= _MAX_CHARS and not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)
