"""The cache of users: for a minute in this process, and longer in the cache that several processes share.

Users are cached by the `sub` of a Cognito token, by uuid and by their exact handle. `find` caches no misses, so a new
user is visible immediately. `put_many` caches that a uuid has no row, so a list with a deleted user needs no query.
Other spellings of a handle are not cached, because `forget` could not list them. Code that changes a user in Postgres
calls `forget` after its commit:

- This process and the shared cache drop the old user. No reader can put it back into the shared cache
  (lib/cache/momento.py).
- Another process may use its own old copy for up to a minute. If it listens to the hints of Postgres, it calls `drop`
  at once.
- If the shared cache does not respond, it keeps the old user for its time to live. A process may copy this user and use
  the copy for another minute.

The shared cache holds no e-mail address and no credential. Its keys are hashes of the `sub`, handle or uuid.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from hashlib import sha256
from typing import Literal, NamedTuple

from cachetools import TTLCache

from lib.cache.base import Cache, InMemoryCache
from lib.cache.shared import OptionalCache
from lib.config import CacheSettings
from lib.users.accounts import Account, User

CACHED_SECONDS = 60
_CACHED_USERS = 10_000

# If the shape of the shared values changes, so must this version: a deployment runs old and new processes together.
_PREFIX = "cruddur:user:3:"

By = Literal["sub", "handle", "uuid"]


class _Copy(NamedTuple):
    """What this process has read of a user, and when, by the timer. `account` is None if the uuid has no row."""

    account: Account | None
    read_at: float


class UserCache:
    """Recently read accounts. Safe to share between threads."""

    def __init__(self, shared: Cache[str, str] | None, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._timer = timer
        self._own: InMemoryCache[tuple[By, str], _Copy] = InMemoryCache(TTLCache(_CACHED_USERS, CACHED_SECONDS, timer))
        # The users whom another process has changed: their values in the shared cache may be old.
        self._changed: InMemoryCache[tuple[By, str], bool] = InMemoryCache(
            TTLCache(_CACHED_USERS, CACHED_SECONDS, timer)
        )
        self._changes = 0

    def find(
        self, by: By, text: str, read: Callable[[], Account | None], *, max_age: float = CACHED_SECONDS
    ) -> Account | None:
        """The cached account, or the one that `read` returns. Caches it, except for another spelling of a handle.

        This process's own copy must not be older than `max_age` seconds.
        """
        copy = self._own.get((by, text))
        if copy and copy.account and self._timer() - copy.read_at <= max_age:
            return copy.account
        changes = self._changes
        account = self._shared_account(by, text)
        if account is None:
            account = read()
            if account is None or (by == "handle" and account.user.handle != text):
                return account
            self._put_shared(by, text, account)
        if changes == self._changes:  # otherwise the account may be older than a change
            self._put_own(by, text, account)
            if by == "sub":
                self._put_own("uuid", account.user.uuid, account)  # the lists of the caller show the caller, too
        return account

    def cached_many(self, uuids: Collection[str]) -> dict[str, Account | None]:
        """The cached accounts of these users; None for a user who is known to have no row."""
        copies = self._own.get_many([("uuid", uuid) for uuid in uuids])
        accounts = {uuid: copy.account for (_, uuid), copy in copies.items()}
        for uuid in uuids if len(accounts) < len(uuids) else ():
            if uuid not in accounts and (account := self._shared_account("uuid", uuid)):
                accounts[uuid] = account
                self._put_own("uuid", uuid, account)
        return accounts

    def put_many(self, accounts: Mapping[str, Account | None]) -> None:
        """Cache what the caller has just read, by uuid. None says that there is no row; no shared cache gets it."""
        for uuid, account in accounts.items():
            self._put_own("uuid", uuid, account)
            if account:
                self._put_shared("uuid", uuid, account)

    def drop(self, by: By, text: str) -> None:
        """Drop this process's copy of a user who has changed in another process.

        For a minute, this process does not use the shared cache's value: the other process may call `forget` later.
        """
        self._changes += 1
        self._own.forget((by, text))
        self._changed.put((by, text), True)

    def forget(
        self, *, cognito_user_ids: Iterable[str], handles: Iterable[str] = (), uuids: Iterable[str] = ()
    ) -> None:
        """Remove the users of these ids, handles and uuids, because they have changed."""
        texts_by: dict[By, Iterable[str]] = {"sub": cognito_user_ids, "handle": handles, "uuid": uuids}
        self._changes += 1
        for by, texts in texts_by.items():
            for text in texts:
                self._own.forget((by, text))
                if self._shared:
                    self._shared.forget(_key(by, text))

    def _put_own(self, by: By, text: str, account: Account | None) -> None:
        self._own.put((by, text), _Copy(account, self._timer()))

    def _shared_account(self, by: By, text: str) -> Account | None:
        if self._shared is None or self._changed.get((by, text)):
            return None
        shared_text = self._shared.get(_key(by, text))
        return _decode(shared_text) if shared_text else None

    def _put_shared(self, by: By, text: str, account: Account) -> None:
        if self._shared is None:
            return
        if self._changed.get((by, text)):
            self._shared.forget(_key(by, text))  # `put` would keep an old value
        else:
            self._shared.put(_key(by, text), _encode(account))


def stale_data_warnings(cache: OptionalCache | None, settings: CacheSettings) -> list[str]:
    """A sentence for people if the cache missed a change, else none."""
    if cache is None or cache.last_failure is None:
        return []
    seconds = settings.momento_ttl_seconds + CACHED_SECONDS
    warning = f"Could not invalidate the shared cache; some processes may use the old data for up to {seconds} seconds"
    return [f"{warning}. {cache.last_failure}"]


def _encode(account: Account) -> str:
    user = account.user
    texts = [user.uuid, user.handle, user.display_name, account.accepts_messages_from]
    return json.dumps([*texts, account.disabled_at, account.signed_out_at])


def _decode(text: str) -> Account | None:
    try:
        uuid, handle, display_name, accepts_messages_from, *times = json.loads(text)
    except (TypeError, ValueError):
        return None
    texts = (uuid, handle, display_name, accepts_messages_from)
    has_texts = all(isinstance(text, str) for text in texts)
    has_times = len(times) == 2 and all(time is None or isinstance(time, float) for time in times)
    return Account(User(uuid, handle, display_name), accepts_messages_from, *times) if has_texts and has_times else None


def _key(by: By, text: str) -> str:
    return f"{_PREFIX}{by}:{sha256(text.encode()).hexdigest()}"
