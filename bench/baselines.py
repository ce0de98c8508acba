"""The baselines, a naive view and a bare boto3 loop: both read the newest rows of a partition."""

from __future__ import annotations

import json
import os
import statistics
import time
import timeit
from functools import partial
from typing import Any

import boto3
from flask import Flask, Response


def create_app() -> Flask:
    """The naive view, as a first draft has it: a shared client, one query, `json.dumps`, no sign-in, no log.

    `/floor` returns a constant, which shows the server's own cost. boto3 reads its endpoint from the environment.
    """
    app = Flask(__name__, static_folder=None)
    client, table = boto3.client("dynamodb"), os.environ["DDB_TABLE"]

    @app.get("/floor")
    def floor() -> Response:
        return Response("[]", mimetype="application/json")

    @app.get("/newest/<pk>")
    def newest(pk: str) -> Response:
        rows = [
            {
                "uuid": (item.get("message_uuid") or item["message_group_uuid"])["S"],
                "display_name": item["user_display_name"]["S"],
                "handle": item["user_handle"]["S"],
                "message": item["message"]["S"],
                "created_at": item["sk"]["S"],
            }
            for item in _query(client, table, pk)
        ]
        return Response(json.dumps(rows), mimetype="application/json")

    return app


def run_loop(variables: dict[str, str], pk: str, cores: list[int], seconds: int) -> dict[str, float]:
    """Query in this process on these cores, one query after the other, for about `seconds`; return the sample."""
    client = boto3.client("dynamodb", endpoint_url=variables["AWS_ENDPOINT_URL_DYNAMODB"])
    query = partial(_query, client, variables["DDB_TABLE"], pk)
    cores_before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    timeit.repeat(query, number=1, repeat=50)  # warm up
    cpu_before = time.process_time()
    times = timeit.repeat(query, "import gc; gc.enable()", number=1, repeat=400 * seconds)
    cpu = time.process_time() - cpu_before
    os.sched_setaffinity(0, cores_before)
    return {
        "cpu_us": cpu / len(times) * 1e6,
        "requests_per_second": len(times) / sum(times),
        "p50_ms": statistics.median(times) * 1000,
        "p99_ms": statistics.quantiles(times, n=100)[98] * 1000,
    }


def _query(client: Any, table: str, pk: str) -> Any:
    return client.query(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
        ScanIndexForward=False,
        Limit=20,
    )["Items"]
