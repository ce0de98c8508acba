"""Readiness: whether every dependency responds within a second, and has its schema."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from threading import Lock

from lib.ddb.errors import StoreUnavailable
from lib.identity.tokens import KeysUnavailable
from lib.postgres.errors import DatabaseUnavailable
from services.errors import Code, Unavailable

_DEADLINE_SECONDS = 0.9
_REMEMBERED_SECONDS = 1.0
_THREADS = 2  # per dependency: a check may still hang when the next one starts


class Readiness:
    """Checks all dependencies at once. Each has its own threads, so that one that hangs delays no other.

    It remembers the result for a second. Callers that come during a check wait for it and share its result.
    """

    def __init__(self, checks: Mapping[Code, Callable[[], None]]) -> None:
        """`checks` maps each dependency's error code to a function that sends it a request."""
        self._checks = checks
        self._threads = {code: ThreadPoolExecutor(_THREADS, thread_name_prefix=code) for code in checks}
        self._lock = Lock()
        self._checked_at = -math.inf
        self._causes: dict[Code, Exception] = {}

    def check(self) -> None:
        """Raise Unavailable with the code of each dependency that is not ready. Its cause has the reason of each."""
        with self._lock:
            if time.monotonic() - self._checked_at >= _REMEMBERED_SECONDS:
                self._causes = self._failures()
                self._checked_at = time.monotonic()
            causes = self._causes
        if causes:
            raise Unavailable(*causes) from ExceptionGroup("not ready", list(causes.values()))

    def _failures(self) -> dict[Code, Exception]:
        """The reason for each dependency that is not ready."""
        # The checks run in the caller's context, so that the request's log line counts their requests.
        futures = {code: self._threads[code].submit(copy_context().run, check) for code, check in self._checks.items()}
        wait(futures.values(), timeout=_DEADLINE_SECONDS)
        causes: dict[Code, Exception] = {}
        for code, future in futures.items():
            if not future.done():
                future.cancel()
                causes[code] = TimeoutError(f"no response in {_DEADLINE_SECONDS} s")
                continue
            try:
                future.result()
            except (DatabaseUnavailable, StoreUnavailable, KeysUnavailable) as error:
                causes[code] = error
        return causes
