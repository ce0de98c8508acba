"""The cache of users: for a minute in this process, and longer in the cache that several processes share.

Users are cached by the `sub` of a Cognito token, by uuid and by their exact handle. Misses are not cached, so a new
user is visible immediately. Other spellings of a handle are not cached, because `forget` could not list them. Code that
changes a user in Postgres calls `forget` after its commit:

- This process and the shared cache drop the old user. No reader can put it back into the shared cache
  (lib/cache/momento.py).
- Another process may use its own old copy for up to a minute.
- If the shared cache does not respond, it keeps the old user for its time to live. A process may copy this user and use
  the copy for another minute.

The shared cache holds no e-mail address and no credential. Its keys are hashes of the `sub` or handle.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Literal

from cachetools import TTLCache

from lib.cache.base import Cache, InMemoryCache
from lib.cache.shared import OptionalCache
from lib.config import CacheSettings

CACHED_SECONDS = 60
_CACHED_USERS = 10_000

# If the shape of the shared values changes, so must this version: a deployment runs old and new processes together.
_PREFIX = "cruddur:user:2:"

By = Literal["sub", "handle", "uuid"]

Fields = Sequence[str]
"""A user's uuid, handle and display name."""


class UserCache:
    """The fields of recently read users. Safe to share between threads."""

    def __init__(self, shared: Cache[str, str] | None, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._own: InMemoryCache[str, Fields] = InMemoryCache(TTLCache(_CACHED_USERS, CACHED_SECONDS, timer))

    def find(self, by: By, text: str, read: Callable[[], Fields | None]) -> Fields | None:
        """The cached fields, or those that `read` returns. Caches these, except for another spelling of a handle."""
        key = _key(by, text)
        if fields := self._own.get(key):
            return fields
        fields = self._shared_fields(key)
        if fields is None:
            fields = read()
            if fields is None or (by == "handle" and fields[1] != text):
                return fields
            if self._shared:
                self._shared.put(key, json.dumps(fields))
        self._own.put(key, fields)
        return fields

    def forget(
        self, *, cognito_user_ids: Iterable[str], handles: Iterable[str] = (), uuids: Iterable[str] = ()
    ) -> None:
        """Remove the users of these ids, handles and uuids, because the users or their names have changed."""
        texts: dict[By, Iterable[str]] = {"sub": cognito_user_ids, "handle": handles, "uuid": uuids}
        for key in [_key(by, text) for by in texts for text in texts[by]]:
            self._own.forget(key)
            if self._shared:
                self._shared.forget(key)

    def _shared_fields(self, key: str) -> Fields | None:
        text = self._shared.get(key) if self._shared else None
        return _decode(text) if text else None


def stale_data_warnings(cache: OptionalCache | None, settings: CacheSettings) -> list[str]:
    """A sentence for people if the cache missed a change, else none."""
    if cache is None or cache.last_failure is None:
        return []
    seconds = settings.momento_ttl_seconds + CACHED_SECONDS
    warning = f"Could not invalidate the shared cache; some processes may use the old data for up to {seconds} seconds"
    return [f"{warning}. {cache.last_failure}"]


def _decode(text: str) -> Fields | None:
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    is_whole = isinstance(fields, list) and len(fields) == 3 and all(isinstance(field, str) for field in fields)
    return fields if is_whole else None


def _key(by: By, text: str) -> str:
    return f"{_PREFIX}{by}:{sha256(text.encode()).hexdigest()}"
