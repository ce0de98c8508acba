"""What is remembered of users: for a minute in this process, and longer in what several processes share.

Asked for by the `sub` of a Cognito token or by handle. Only what was found is remembered: who becomes a user is one at
once. Whoever changes a user in Postgres forgets them here when that is committed; then

- another process still knows what it knew, for its minute;
- what processes share is told, and takes the old row from nobody who had read it before (lib/cache/momento.py). If it
  cannot be told, it keeps the old one for its time to live, and a process may take that over for another minute.

What is shared holds no e-mail address and no credential, and under a hash of the `sub` or handle, not under the text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import astuple
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from cachetools import TTLCache

from lib.cache.base import Cache, Memory

if TYPE_CHECKING:
    from lib.users.directory import User

REMEMBERED_SECONDS = 60
_REMEMBERED_USERS = 10_000

# Another shape of what is shared is another version: processes of both run side by side during a deployment.
_KEY = "cruddur:user:1:"

By = Literal["sub", "handle"]


class KnownUsers:
    """Users who were found lately; `shared` holds `[uuid, handle, display_name]`. Safe to share between threads."""

    def __init__(
        self,
        make: type[User],
        shared: Cache[str, Any] | None,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._shared = shared
        self._memory: Memory[tuple[By, str], User] = Memory(TTLCache(_REMEMBERED_USERS, REMEMBERED_SECONDS, timer))

    def find(self, by: By, text: str, read: Callable[[], User | None]) -> User | None:
        """The user who is remembered, or else the one who is read, who is remembered from now on."""
        if known := self._memory.get((by, text)):
            return known
        user = self._share(by, text, read)
        if user:
            self._memory.put((by, text), user)
        return user

    def forget(self, *, cognito_user_ids: Iterable[str], handles: Iterable[str]) -> None:
        """These ids and handles belong to another user from now on, or to one with another name."""
        for cognito_user_id in cognito_user_ids:
            self._forget("sub", cognito_user_id)
        for handle in handles:
            self._forget("handle", handle)

    def _forget(self, by: By, text: str) -> None:
        self._memory.forget((by, text))
        if self._shared:
            self._shared.forget(_key(by, text))

    def _share(self, by: By, text: str, read: Callable[[], User | None]) -> User | None:
        if self._shared is None:
            return read()
        key = _key(by, text)
        if known := self._shared.get(key):
            return self._make(*known)
        user = read()
        if user:
            self._shared.put(key, astuple(user))
        return user


def _key(by: By, text: str) -> str:
    return f"{_KEY}{by}:{sha256(text.encode()).hexdigest()}"
