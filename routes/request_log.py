"""One log line per request: its route, status, duration and cost; for an error also its codes."""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, abort, g, request
from werkzeug.exceptions import BadRequest

from lib.aws import metering
from lib.logs import log
from lib.postgres import database
from routes.request_body import REFUSED_STATUS, STARTED_AT

_MAX_PATH = 200
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
# https://www.w3.org/TR/trace-context/#traceparent-header; later versions may append fields.
_TRACEPARENT = re.compile(r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


@dataclass(slots=True)
class Trace:
    """The data of a request's log line; `started_at` is a time by time.perf_counter."""

    request_id: str
    trace_id: str | None
    started_at: float
    dynamodb: metering.Usage
    postgres: database.QueryCount


def log_requests(app: Flask) -> None:
    """Give every request of an application an id, and log the request with its response."""
    app.before_request(start_request)
    app.after_request(log_request)


def start_request() -> None:
    client_id = request.headers.get("X-Request-Id", "")
    request_id = client_id if _REQUEST_ID.fullmatch(client_id) else str(uuid.uuid4())
    traceparent = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    trace_id = traceparent[1] if traceparent else None
    # By the server's time, `ms` includes the wait for the body and for a thread.
    started_at = request.environ.get(STARTED_AT) or time.perf_counter()
    g.trace = Trace(request_id, trace_id, started_at, metering.start_metering(), database.start_counting())
    if REFUSED_STATUS in request.environ:
        abort(request.environ[REFUSED_STATUS])
    if not request.query_string.isascii():  # RFC 3986; werkzeug fails on bytes that are no UTF-8
        raise BadRequest


def log_request(response: Response) -> Response:
    trace: Trace = g.trace
    response.headers["X-Request-Id"] = trace.request_id
    log(
        "request",
        level=logging.DEBUG if _is_routine(response) else logging.INFO,
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        **_refusal(response),
        ms=round((time.perf_counter() - trace.started_at) * 1000, 1),
        request_id=trace.request_id,
        trace_id=trace.trace_id,
        user_uuid=g.get("user_uuid"),
        dynamodb_requests=trace.dynamodb.requests,
        dynamodb_read_units=trace.dynamodb.read_units,
        dynamodb_write_units=trace.dynamodb.write_units,
        postgres_requests=trace.postgres.requests,
    )
    return response


def _is_routine(response: Response) -> bool:
    """Whether this is a successful health check or preflight. Their many lines would hide the others."""
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    return response.status_code < 400 and (is_preflight or request.blueprint == "health")


def _refusal(response: Response) -> dict[str, Any]:
    """The codes of an error. A 404 has its path too, because it may have no route."""
    if response.status_code < 400:
        return {}
    path = {"path": request.path[:_MAX_PATH]} if response.status_code == 404 else {}
    return path | {"codes": response.get_json(silent=True)}
