"""The bare boto3 loop: one process queries the newest rows of a partition, one call after the other, without a server.

Run as `python -m bench.boto3_baseline PK SECONDS CORE …`; prints a Sample as JSON. Its environment names the table.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from functools import partial

import boto3
import orjson

from bench.results import Sample

_LEAST = 50  # calls, before the measurement and in it


def main(pk: str, seconds: str, *cores: str) -> None:
    os.sched_setaffinity(0, map(int, cores))
    query = partial(
        boto3.client("dynamodb").query,
        TableName=os.environ["DDB_TABLE"],
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
        ScanIndexForward=False,
        Limit=20,
    )
    for _ in range(_LEAST):
        query()
    times: list[float] = []
    cpu, started = time.process_time(), time.perf_counter()
    ended = started
    while ended < started + int(seconds) or len(times) < _LEAST:
        began = ended
        query()
        ended = time.perf_counter()
        times.append((ended - began) * 1000)
    cpu, elapsed, count = time.process_time() - cpu, ended - started, len(times)
    percentiles = statistics.quantiles(times, n=100, method="inclusive")
    p50, p95, p99 = (percentiles[percent - 1] for percent in (50, 95, 99))
    sample = Sample(count / elapsed, cpu / count * 1e6, cpu / elapsed, p50, p95, p99, max(times))
    sys.stdout.buffer.write(orjson.dumps(sample))


if __name__ == "__main__":
    main(*sys.argv[1:])
