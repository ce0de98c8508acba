"""The bare boto3 loop: the API's own calls of DynamoDB from one process, one after the other, by a plain client.

Run as `python -m bench.loop OPERATION UUID CORES SECONDS`; prints a sample as JSON. Its environment names the table.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict

import boto3

from bench.cores import place
from bench.measure import Sample
from lib.clock import now, tick_after, to_timestamp
from lib.ddb import keys
from lib.ddb.items import Conversation, Message, conversation_key
from lib.ddb.sending import advanced, append_writes
from lib.ddb.table import Table

_WARM_UP = 50


def main(operation: str, name: str, cores: str, seconds: str) -> None:
    place(os.getpid(), tuple(int(core) for core in cores.split(",") if core))
    table = Table(boto3.client("dynamodb"), os.environ["DDB_TABLE"])
    sys.stdout.write(json.dumps(asdict(run(OPERATIONS[operation](table, name), seconds=int(seconds)))))


def run(call: Callable[[], object], *, seconds: int) -> Sample:
    """Call for so long."""
    for _ in range(_WARM_UP):
        call()
    times: list[float] = []
    cpu, began = time.process_time(), time.perf_counter()
    ends = at = began
    while at < began + seconds or len(times) < _WARM_UP:
        call()
        ends = time.perf_counter()
        times.append((ends - at) * 1000)
        at = ends
    cpu, elapsed = time.process_time() - cpu, ends - began
    percentiles = statistics.quantiles(times, n=100, method="inclusive")
    return Sample(
        requests_per_second=len(times) / elapsed,
        cpu_us=cpu / len(times) * 1e6,
        busy=cpu / elapsed,
        p50_ms=percentiles[49],
        p95_ms=percentiles[94],
        p99_ms=percentiles[98],
        max_ms=max(times),
    )


def _messages(table: Table, group_uuid: str) -> Callable[[], object]:
    return lambda: table.newest(keys.message_pk(group_uuid), limit=20, before=None)


def _inbox(table: Table, user_uuid: str) -> Callable[[], object]:
    return lambda: table.newest(keys.inbox_pk(user_uuid), limit=20, before=None)


def _send(table: Table, group_uuid: str) -> Callable[[], object]:
    state = Conversation.from_item(table.get(conversation_key(group_uuid)) or {}, group_uuid=group_uuid)
    sender = next(iter(state.members.values())).user

    def send() -> None:
        nonlocal state
        at = max(to_timestamp(now()), tick_after(state.last_message_at))
        message = Message(group_uuid, at, str(uuid.uuid4()), "A message of the loop", sender, seq=state.seq + 1)
        after = advanced(state, message)
        table.transact(append_writes(state, after, message))
        state = after

    return send


OPERATIONS = {"messages": _messages, "inbox": _inbox, "send": _send}

if __name__ == "__main__":
    main(*sys.argv[1:])
