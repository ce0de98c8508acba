"""Whether the system can serve: what it depends on has to answer within a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context

from lib.ddb.errors import StoreUnavailable
from lib.postgres.errors import DatabaseUnavailable
from services.errors import Code, Unavailable

_DEADLINE_SECONDS = 0.9
_THREADS = 2  # of each dependency: one may still hang while the next asks


class Readiness:
    """Asks every dependency at once. One a process: a dependency that hangs holds nobody else's threads."""

    def __init__(self, checks: Mapping[Code, Callable[[], None]]) -> None:
        """`checks` maps the code of a dependency that does not answer to what asks it."""
        self._checks = checks
        self._threads = {code: ThreadPoolExecutor(_THREADS, thread_name_prefix=code) for code in checks}

    def check(self) -> None:
        """Return if everything answers. Raises Unavailable with the code of each that does not."""
        # In the caller's context, so that what a check costs counts for the caller.
        asked = {code: self._threads[code].submit(copy_context().run, ask) for code, ask in self._checks.items()}
        wait(asked.values(), timeout=_DEADLINE_SECONDS)
        failing: list[Code] = []
        causes: list[BaseException] = []
        for code, answer in asked.items():
            if not answer.done():
                answer.cancel()
                failing.append(code)
            elif isinstance(error := answer.exception(), (DatabaseUnavailable, StoreUnavailable)):
                failing.append(code)
                causes.append(error)
            elif error:
                raise error
        if failing:
            raise Unavailable(*failing) from next(iter(causes), TimeoutError(f"no answer in {_DEADLINE_SECONDS} s"))
