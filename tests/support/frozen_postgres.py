"""A Postgres that hangs: its connections stay open, and nothing responds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from tools.local_stack.postgres import Postgres


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """Suspend the server's processes inside the `with` block."""
    main = psutil.Process(server.pid)
    processes = [main, *main.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a worker that has just ended
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()
