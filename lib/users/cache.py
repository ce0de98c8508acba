"""The cache of users: for a minute in this process, and longer in the cache that several processes share.

Users are cached by the `sub` of a Cognito token, by uuid and by their exact handle. Misses are not cached, so a new
user is visible immediately. Other spellings of a handle are not cached, because `forget` could not list them. Code that
changes a user in Postgres calls `forget` after its commit:

- This process and the shared cache drop the old user. No reader can put it back into the shared cache
  (lib/cache/momento.py).
- Another process may use its own old copy for up to a minute.
- If the shared cache does not respond, it keeps the old user for its time to live. A process may copy this user and use
  the copy for another minute.

`put_many` also caches for a minute that a uuid has no row, so that a list with a deleted user needs no query.

The shared cache holds no e-mail address and no credential. Its keys are hashes of the `sub`, handle or uuid.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Literal

from cachetools import TTLCache

from lib.cache.base import Cache, InMemoryCache
from lib.cache.shared import OptionalCache
from lib.config import CacheSettings

CACHED_SECONDS = 60
_CACHED_USERS = 10_000

# If the shape of the shared values changes, so must this version: a deployment runs old and new processes together.
_PREFIX = "cruddur:user:3:"

By = Literal["sub", "handle", "uuid"]

Fields = Sequence[str | float | None]
"""The fields of an Account (lib/users/directory.py), in their order."""

_TEXTS, _TIMES = 4, 2  # the number of fields of each kind
_NO_ROW: Fields = ()


class UserCache:
    """The fields of recently read users. Safe to share between threads."""

    def __init__(self, shared: Cache[str, str] | None, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._own: InMemoryCache[tuple[By, str], Fields] = InMemoryCache(TTLCache(_CACHED_USERS, CACHED_SECONDS, timer))

    def find(self, by: By, text: str, read: Callable[[], Fields | None]) -> Fields | None:
        """The cached fields, or those that `read` returns. Caches these, except for another spelling of a handle."""
        if fields := self._own.get((by, text)):
            return fields
        fields = self._shared_fields(by, text)
        if fields is None:
            fields = read()
            if fields is None or (by == "handle" and fields[1] != text):
                return fields
            self._put_shared(by, text, fields)
        self._own.put((by, text), fields)
        if by == "sub":
            self._own.put(("uuid", str(fields[0])), fields)  # the lists of the caller show the caller, too
        return fields

    def cached_many(self, uuids: Collection[str]) -> dict[str, Fields | None]:
        """The cached fields of these users; None for a user who is known to have no row."""
        own = self._own.get_many([("uuid", uuid) for uuid in uuids])
        found: dict[str, Fields | None] = {uuid: fields or None for (_, uuid), fields in own.items()}
        if self._shared:
            for uuid in uuids:
                if uuid not in found and (fields := self._shared_fields("uuid", uuid)):
                    self._own.put(("uuid", uuid), fields)
                    found[uuid] = fields
        return found

    def put_many(self, rows: Mapping[str, Fields | None]) -> None:
        """Cache what the caller has just read, by uuid. None says that there is no row; no shared cache gets it."""
        for uuid, fields in rows.items():
            self._own.put(("uuid", uuid), fields or _NO_ROW)
            if fields:
                self._put_shared("uuid", uuid, fields)

    def forget(
        self, *, cognito_user_ids: Iterable[str], handles: Iterable[str] = (), uuids: Iterable[str] = ()
    ) -> None:
        """Remove the users of these ids, handles and uuids, because the users or their names have changed."""
        texts_by: dict[By, Iterable[str]] = {"sub": cognito_user_ids, "handle": handles, "uuid": uuids}
        for by, texts in texts_by.items():
            for text in texts:
                self._own.forget((by, text))
                if self._shared:
                    self._shared.forget(_key(by, text))

    def _shared_fields(self, by: By, text: str) -> Fields | None:
        shared_text = self._shared.get(_key(by, text)) if self._shared else None
        return _decode(shared_text) if shared_text else None

    def _put_shared(self, by: By, text: str, fields: Fields) -> None:
        if self._shared:
            self._shared.put(_key(by, text), json.dumps(fields))


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
    if not isinstance(fields, list) or len(fields) != _TEXTS + _TIMES:
        return None
    has_texts = all(isinstance(field, str) for field in fields[:_TEXTS])
    has_times = all(field is None or isinstance(field, float) for field in fields[_TEXTS:])
    return fields if has_texts and has_times else None


def _key(by: By, text: str) -> str:
    return f"{_PREFIX}{by}:{sha256(text.encode()).hexdigest()}"
