"""Readiness: whether every dependency responds within a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context

from lib.ddb.errors import StoreUnavailable
from lib.postgres.errors import DatabaseUnavailable
from services.errors import Code, Unavailable

_DEADLINE_SECONDS = 0.9
_THREADS = 2  # per dependency: a check may still hang when the next one starts


class Readiness:
    """Checks all dependencies at once. Each has its own threads, so that one that hangs delays no other."""

    def __init__(self, checks: Mapping[Code, Callable[[], None]]) -> None:
        """`checks` maps each dependency's error code to a function that sends it a request."""
        self._checks = checks
        self._threads = {code: ThreadPoolExecutor(_THREADS, thread_name_prefix=code) for code in checks}

    def check(self) -> None:
        """Raise Unavailable with the code of each dependency that does not respond."""
        # The checks run in the caller's context, so that the request's log line counts their requests.
        futures = {code: self._threads[code].submit(copy_context().run, check) for code, check in self._checks.items()}
        wait(futures.values(), timeout=_DEADLINE_SECONDS)
        failing_codes: list[Code] = []
        causes: list[BaseException] = []
        for code, future in futures.items():
            if not future.done():
                future.cancel()
                failing_codes.append(code)
            elif isinstance(error := future.exception(), (DatabaseUnavailable, StoreUnavailable)):
                failing_codes.append(code)
                causes.append(error)
            elif error:
                raise error
        if failing_codes:
            cause = next(iter(causes), TimeoutError(f"no response in {_DEADLINE_SECONDS} s"))
            raise Unavailable(*failing_codes) from cause
