"""One conversation with many writers in two processes, each with its own caches: every send succeeds in time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

from lib.ddb.store import MessageStore
from tests.support.stores import ANNA, BERT, TableContents, stores_on

WRITERS = 4  # of each process
SECONDS = 1.0


def test_send_into_a_busy_conversation_ends_in_time(dynamodb_client: Any, table: str) -> None:
    """The process of the last write knows the newest state first. It must not keep the other process out."""
    first, second = (stores_on(dynamodb_client, table)() for _ in range(2))
    group = first.send_to_user(sender=ANNA, receiver=BERT, text="hello").group_uuid
    end = time.monotonic() + SECONDS

    def write(store: MessageStore) -> tuple[int, float]:
        """Send until the end; return the number of messages and the seconds of the slowest send."""
        times = []
        while (began := time.monotonic()) < end:
            store.send(group_uuid=group, sender=ANNA, text="hello")
            times.append(time.monotonic() - began)
        return len(times), max(times)

    with ThreadPoolExecutor(2 * WRITERS) as threads:
        counts, slowest = zip(*threads.map(write, [first, second] * WRITERS), strict=True)
    assert max(slowest) < 4  # a send ends after five seconds; chance decides how the processes share the conversation
    TableContents(dynamodb_client, table).check(group, repeat("hello", 1 + sum(counts)))
