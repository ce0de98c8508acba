"""The directory of users in Postgres: find them by Cognito id or handle, add them, rename them.

lib/users/cache.py caches what the queries return. This module knows no HTTP and no token.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from lib.cache.base import Cache
from lib.clock import to_timestamp
from lib.postgres.errors import DatabaseUnavailable, NotUnique
from lib.users import names
from lib.users.accounts import Account, Profile, User, precedes
from lib.users.cache import CACHED_SECONDS, By, UserCache
from lib.users.names import handle_key, is_storable

if TYPE_CHECKING:  # so that a module that needs only User loads neither psycopg nor boto3
    from lib.postgres.database import Database, Queries, Row

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAMES_PAUSE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class SignUp:
    """The attributes of a Cognito user who may have no row in Postgres yet."""

    cognito_user_id: str
    handle: str
    display_name: str
    email: str
    email_verified: bool

    def is_storable(self) -> bool:
        """Whether no text is blank and the database can hold all. A new row also needs names that follow the rules."""
        texts = (self.cognito_user_id, self.handle, self.display_name, self.email)
        return all(text.strip() and is_storable(text) for text in texts)


class Outcome(StrEnum):
    """The effect of provisioning a user."""

    CREATED = "created"
    LINKED = "linked"  # a row without a Cognito id got the user's id
    KNOWN = "known"  # the user had a row: nothing changed


class HandleTaken(Exception):
    """Another user has the handle, or gave it up within 30 days; nothing was written."""


class NameRefused(Exception):
    """A name breaks a rule of lib/users/names.py; nothing was written."""


class UserDeleted(Exception):
    """The user's row was deleted after the token of the sign-up was issued; nothing was written."""


AccessChange = Literal["disable", "enable", "sign_out"]


class UserDirectory:
    """Finds, adds and changes users. Every method but `drop_copies` raises DatabaseUnavailable.

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
        self._timer = timer
        self._names_paused_until = -math.inf

    def by_cognito_user_id(self, cognito_user_id: str) -> User | None:
        """The user of a token's `sub`, cached. Misses are not cached, so a new user is visible immediately."""
        account = self.account("sub", cognito_user_id)
        return account.user if account else None

    def profile(self, handle: str) -> User | None:
        """The user with this handle, in any spelling. Cached under the exact one: to show a profile, not to send."""
        account = self.account("handle", handle)
        return account.user if account else None

    def by_handle(self, handle: str) -> User | None:
        """The user with this handle, in any spelling, from Postgres."""
        account = self.account_by_handle(handle)
        return account.user if account else None

    def account_by_handle(self, handle: str) -> Account | None:
        """The account with this handle, from Postgres, not from the cache. None for a text that Postgres cannot store.

        The user with exactly this handle comes first, then the user of whose handle this is another spelling.
        """
        return self._read("handle", handle) if is_storable(handle) else None

    def account(self, by: By, text: str, *, max_age: float = CACHED_SECONDS) -> Account | None:
        """The account with this `sub`, uuid or handle, cached. None for a text that Postgres cannot store.

        This process's copy must not be older than `max_age` seconds.
        """
        if not (is_storable(text) and (by != "uuid" or _UUID.fullmatch(text))):
            return None
        return self._cache.find(by, text, lambda: self._read(by, text), max_age=max_age)

    def current(self, uuids: Collection[str]) -> dict[str, User | None]:
        """The users with these uuids as they are today; None for a user without a row.

        One query at most, for the users that no cache has. During an outage of Postgres, the result lacks these users.
        """
        found = self._cache.cached_many(uuids)
        if len(found) < len(uuids):
            found.update(self._read_unknown([uuid for uuid in uuids if uuid not in found and _UUID.fullmatch(uuid)]))
        return {uuid: account.user if account else None for uuid, account in found.items()}

    def drop_copies(self, uuids: Collection[str], *, cognito_user_id: str | None) -> None:
        """Drop this process's copies of users who have changed. Calls neither Postgres nor a shared cache."""
        for uuid in uuids:
            self._cache.drop("uuid", uuid)
        if cognito_user_id:
            self._cache.drop("sub", cognito_user_id)

    def _read_unknown(self, uuids: list[str]) -> dict[str, Account | None]:
        """The accounts of these users, None for a uuid without a row. Empty while Postgres is unavailable."""
        if self._timer() < self._names_paused_until:
            return {}
        try:
            accounts = self._read_many(uuids)
        except DatabaseUnavailable:  # a list needs no Postgres, so it must not wait for one that does not respond
            self._names_paused_until = self._timer() + _NAMES_PAUSE_SECONDS
            return {}
        by_uuid = {uuid: accounts.get(uuid) for uuid in uuids}
        self._cache.put_many(by_uuid)
        return by_uuid

    def _read(self, by: By, text: str) -> Account | None:
        if by == "uuid":
            return self._read_many([text]).get(text)
        if by == "sub":
            row = self._database.one("users/by_cognito_user_id", cognito_user_id=text)
        else:
            row = self._database.one("users/by_handle", handle=text, handle_key=handle_key(text))
        return _to_account(row) if row else None

    def _read_many(self, uuids: list[str]) -> dict[str, Account]:
        rows = self._database.all("users/by_uuids", uuids=uuids)
        return {str(row["uuid"]): _to_account(row) for row in rows}

    def was_deleted(self, cognito_user_id: str, *, issued_at: float) -> bool:
        """Whether the row of this `sub` was deleted after the time of a token, in epoch seconds."""
        return is_storable(cognito_user_id) and _was_deleted(self._database, cognito_user_id, issued_at)

    def provision(self, sign_up: SignUp, *, issued_at: float | None = None) -> tuple[User, Outcome]:
        """The user of a storable sign-up. Creates or links their row; a second call changes nothing.

        It links a row without a Cognito id only if the row has their handle and their e-mail address, and Cognito has
        verified the address. Otherwise a stranger could sign up with a user's handle and get the user's messages.
        Raises HandleTaken, NameRefused if the user needs a new row, and UserDeleted if the user's row was deleted after
        `issued_at`, the time of their token in epoch seconds.
        """
        key, name = handle_key(sign_up.handle), names.display_name(sign_up.display_name)
        values = asdict(sign_up) | {"handle_key": key, "display_name": name}
        row, outcome = None, Outcome.CREATED
        try:
            with self._database.transaction() as queries:
                if key and name:
                    row = queries.one("users/create", **values)
                if row is None and sign_up.email_verified:
                    row, outcome = queries.one("users/link", **values), Outcome.LINKED
                # Not before: the statements above may have waited for the transaction that deleted the user's row.
                if row and issued_at is not None and _was_deleted(queries, sign_up.cognito_user_id, issued_at):
                    raise UserDeleted
        except NotUnique:  # the Cognito id has a row with another handle, or another user gave up this one
            row = None
        if row:
            # The caches may hold a deleted row of this handle or id.
            self._cache.forget(cognito_user_ids=[sign_up.cognito_user_id], handles=[row["handle"]])
            return to_user(row), outcome
        user = self.by_cognito_user_id(sign_up.cognito_user_id)
        if user is None:
            raise HandleTaken if key and name else NameRefused
        return user, Outcome.KNOWN

    def own_profile(self, uuid: str) -> Profile | None:
        """The profile of the user with this uuid, from Postgres; None if there is no such user."""
        row = self._database.one("users/own_profile", uuid=uuid)
        return _to_profile(row) if row else None

    def change_profile(
        self,
        uuid: str,
        *,
        display_name: str | None,
        accepts_messages_from: str | None,
        check: Callable[[Profile], None],
    ) -> Profile | None:
        """Change a user's row and return it; None if there is none. A value that is None stays.

        First locks the row and calls `check` with it. If `check` raises an error, nothing is written. The caller checks
        the rules of lib/users/names.py.
        """
        with self._database.transaction() as queries:
            row = queries.one("users/lock_profile", uuid=uuid)
            if row is None:
                return None
            check(_to_profile(row))
            values = {"display_name": display_name, "accepts_messages_from": accepts_messages_from}
            row = queries.one("users/change_profile", uuid=uuid, **values)
        if row is None:
            return None
        self._forget(row, uuid)
        return _to_profile(row)

    def count_first_contact(self, user_uuid: str, *, limit: int) -> bool:
        """Count a conversation that a user begins; False if this would exceed the limit of the day in UTC."""
        return self._database.one("users/count_first_contact", user_uuid=user_uuid, limit=limit) is not None

    def change_access(self, uuid: str, change: AccessChange) -> bool:
        """Disable, enable or sign out the user with this uuid; False if there is no such user."""
        row = self._database.one(f"users/{change}", uuid=uuid)
        if row:
            self._forget(row, uuid)
        return row is not None

    def rename(self, old_handle: str, *, handle: str | None, display_name: str | None) -> User | None:
        """Rename the user with this handle, in any spelling, and return them; None if there is no such user.

        A name that is None stays. The caller checks the rules of lib/users/names.py. Raises HandleTaken.
        """
        user = self.by_handle(old_handle)
        if user is None:
            return None
        try:
            with self._database.transaction() as queries:
                row = queries.one("users/rename", handle=user.handle, new_handle=handle, display_name=display_name)
                if row and handle:  # a trigger has replaced the key of the old handle
                    queries.execute("users/set_handle_key", uuid=row["uuid"], handle_key=handle_key(handle))
        except NotUnique as error:
            raise HandleTaken from error
        if row is None:
            return None
        self._forget(row, user.uuid, user.handle)
        return to_user(row)

    def _forget(self, row: Row, uuid: str, *old_handles: str) -> None:
        """Remove a changed user from the caches. `row` has the new handle and the Cognito id."""
        ids = [row["cognito_user_id"]] if row["cognito_user_id"] else []
        self._cache.forget(cognito_user_ids=ids, handles={row["handle"], *old_handles}, uuids=[uuid])


def _was_deleted(queries: Queries, cognito_user_id: str, issued_at: float) -> bool:
    row = queries.one("users/deleted_at", cognito_user_id=cognito_user_id)
    return row is not None and precedes(issued_at, row["deleted_at"])


def _to_account(row: Row) -> Account:
    times = (row["disabled_at"], row["signed_out_at"])
    return Account(to_user(row), row["accepts_messages_from"], *times)


def _to_profile(row: Row) -> Profile:
    return Profile(to_user(row), row["accepts_messages_from"], to_timestamp(row["created_at"]))


def to_user(row: Row) -> User:
    """The user of a row with uuid, handle and display name."""
    return User(str(row["uuid"]), row["handle"], row["display_name"])
