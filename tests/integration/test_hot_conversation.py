"""One conversation that many write to through two processes' memories: all are served, in good time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

from lib.ddb.store import MessageStore
from tests.support.stores import ANNA, BERT, TableContents, stores_on

WRITERS = 4  # of each process
SECONDS = 1.0


def test_nobody_waits_long_for_those_who_know_the_newest_state(dynamodb_client: Any, table: str) -> None:
    """The process that wrote last is first to know the state: alone with that, it would keep the other one out."""
    here, elsewhere = (stores_on(dynamodb_client, table)() for _ in range(2))
    group = here.send_to_user(sender=ANNA, receiver=BERT, text="hello").group_uuid
    end = time.monotonic() + SECONDS

    def write(store: MessageStore) -> tuple[int, float]:
        """How many messages it sent, none of which may be refused, and the seconds that the slowest took."""
        times = []
        while (began := time.monotonic()) < end:
            store.send(group_uuid=group, sender=ANNA, text="hello")
            times.append(time.monotonic() - began)
        return len(times), max(times)

    with ThreadPoolExecutor(2 * WRITERS) as threads:
        counts, slowest = zip(*threads.map(write, [here, elsewhere] * WRITERS), strict=True)
    assert max(slowest) < 4  # a send is given up after five; how the processes share the conversation is left to chance
    TableContents(dynamodb_client, table).check(group, repeat("hello", 1 + sum(counts)))
