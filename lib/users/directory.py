"""The directory of users in Postgres: find them by Cognito id or handle, add them, rename them.

lib/users/cache.py caches what the queries return. This module knows no HTTP and no token.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lib.cache.base import Cache
from lib.postgres.errors import NotUnique
from lib.users.cache import By, Fields, UserCache

if TYPE_CHECKING:  # so that a module that needs only User loads neither psycopg nor boto3
    from lib.postgres.database import Database, Row

_MAX_CHARS = 255  # a CHECK of the table says the same
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class User:
    """The public fields of a user, which messages show."""

    uuid: str
    handle: str
    display_name: str


@dataclass(frozen=True, slots=True)
class SignUp:
    """The attributes of a Cognito user who may have no row in Postgres yet."""

    cognito_user_id: str
    handle: str
    display_name: str
    email: str
    email_verified: bool

    def is_storable(self) -> bool:
        """Whether a row can hold these: no field is blank or too long, and the handle has no invisible characters."""
        texts = (self.cognito_user_id, self.display_name, self.email)
        return is_handle(self.handle) and all(map(is_text, texts))


class Outcome(StrEnum):
    """The effect of provisioning a user."""

    CREATED = "created"
    LINKED = "linked"  # a row without a Cognito id got the user's id
    KNOWN = "known"  # the user had a row: nothing changed


class HandleTaken(Exception):
    """Another user has the handle; nothing was written."""


class UserDirectory:
    """Finds, adds and renames users. Every method raises DatabaseUnavailable.

    `shared` is a cache that several processes share. A lookup tries this process's cache, then `shared`, then Postgres.
    """

    def __init__(
        self,
        database: Database,
        shared: Cache[str, str] | None = None,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._cache = UserCache(shared, timer=timer)

    def by_cognito_user_id(self, cognito_user_id: str) -> User | None:
        """The user of a token's `sub`, cached. Misses are not cached, so a new user is visible immediately."""
        return self._cached("sub", cognito_user_id)

    def profile(self, handle: str) -> User | None:
        """The user with exactly this handle, cached: for showing a profile, not for sending."""
        return self._cached("handle", handle)

    def by_uuid(self, uuid: str) -> User | None:
        """The user with this uuid, from Postgres, not from the cache."""
        row = self._database.one("users/by_uuids", uuids=[uuid])
        return _to_user(row) if row else None

    def by_handle(self, handle: str) -> User | None:
        """The user with this handle, from Postgres, not from the cache. None for a text that Postgres cannot store."""
        fields = self._read("handle", handle) if _storable(handle) else None
        return User(*fields) if fields else None

    def _cached(self, by: By, text: str) -> User | None:
        fields = self._cache.find(by, text, lambda: self._read(by, text)) if _storable(text) else None
        return User(*fields) if fields else None

    def _read(self, by: By, text: str) -> Fields | None:
        if by == "sub":
            row = self._database.one("users/by_cognito_user_id", cognito_user_id=text)
        else:
            row = self._database.one("users/by_handle", handle=text)
        return astuple(_to_user(row)) if row else None

    def provision(self, sign_up: SignUp) -> tuple[User, Outcome]:
        """The user of a storable sign-up. Creates or links their row in one statement; a second call changes nothing.

        It links a row without a Cognito id only if the row has their handle and their e-mail address, and Cognito has
        verified the address. Otherwise a stranger could sign up with a user's handle and get the user's messages.
        Raises HandleTaken.
        """
        try:
            row = self._database.one("users/provision", **asdict(sign_up))
        except NotUnique:  # the Cognito id has a row with another handle
            row = None
        if row:
            # The caches may hold a deleted row of this handle or id.
            self._cache.forget(cognito_user_ids=[sign_up.cognito_user_id], handles=[sign_up.handle])
            return _to_user(row), Outcome.CREATED if row["is_new"] else Outcome.LINKED
        user = self.by_cognito_user_id(sign_up.cognito_user_id)
        if user is None:
            raise HandleTaken
        return user, Outcome.KNOWN

    def rename(self, old_handle: str, *, handle: str | None, display_name: str | None) -> User | None:
        """Rename the user with this handle in one statement and return them; None if there is no such user.

        A name that is None stays. Raises HandleTaken.
        """
        if not _storable(old_handle):
            return None
        try:
            row = self._database.one("users/rename", handle=old_handle, new_handle=handle, display_name=display_name)
        except NotUnique as error:
            raise HandleTaken from error
        if row is None:
            return None
        ids = [row["cognito_user_id"]] if row["cognito_user_id"] else []
        self._cache.forget(cognito_user_ids=ids, handles={old_handle, row["handle"]})
        return _to_user(row)


def is_handle(text: str) -> bool:
    """Whether a row can hold this text as a handle: it has no invisible characters."""
    return is_text(text) and text.isprintable() and text == text.strip()


def is_text(text: str) -> bool:
    """Whether a row can hold this text as a name, an address or an id: it is not blank and not too long."""
    return bool(text.strip()) and _storable(text)


def _to_user(row: Row) -> User:
    return User(str(row["uuid"]), row["handle"], row["display_name"])


def _storable(text: str) -> bool:
    """Whether Postgres can hold this text: no NUL, no lone surrogate, not longer than the column."""
    return len(text) <= _MAX_CHARS and not _UNSTORABLE.search(text)
