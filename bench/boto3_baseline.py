"""The bare boto3 loop: this process queries the newest rows of a partition, one call after the other."""

from __future__ import annotations

import os
import statistics
import time
from functools import partial

import boto3

from bench.results import Sample

_WARM_UPS = 50


def run_loop(endpoint_url: str, table: str, partition: str, cores: list[int], seconds: int) -> Sample:
    """One round on these cores."""
    query = partial(
        boto3.client("dynamodb", endpoint_url=endpoint_url).query,
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": partition}},
        ScanIndexForward=False,
        Limit=20,
    )
    cores_before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    for _ in range(_WARM_UPS):
        query()
    times: list[float] = []
    cpu, start = time.process_time(), time.perf_counter()
    end = start
    while end < start + seconds:
        before = end
        query()
        end = time.perf_counter()
        times.append((end - before) * 1000)
    cpu, elapsed = time.process_time() - cpu, end - start
    os.sched_setaffinity(0, cores_before)
    percentiles = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "requests_per_second": len(times) / elapsed,
        "cpu_us": cpu / len(times) * 1e6,
        "busy": cpu / elapsed,
        **{f"p{percent}_ms": percentiles[percent - 1] for percent in (50, 95, 99)},
        "max_ms": max(times),
        "failed": 0,
    }
