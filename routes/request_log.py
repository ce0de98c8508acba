"""One log line per request: its route, status, duration and cost."""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass

from flask import Flask, Response, abort, g, request
from werkzeug.exceptions import BadRequest

from lib.aws import metering
from lib.logs import log
from lib.postgres import database
from routes.request_body import REFUSED_STATUS, STARTED_AT

_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(slots=True)
class Trace:
    """The data of a request's log line; `started_at` is a time by time.perf_counter."""

    request_id: str
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
    started_at = (
        request.environ.get(STARTED_AT) or time.perf_counter()
    )  # so `ms` includes the wait for the body and for a thread
    g.trace = Trace(request_id, started_at, metering.start_metering(), database.start_counting())
    if REFUSED_STATUS in request.environ:
        abort(request.environ[REFUSED_STATUS])
    if not request.query_string.isascii():  # RFC 3986; werkzeug fails on bytes that are no UTF-8
        raise BadRequest


def log_request(response: Response) -> Response:
    trace: Trace = g.trace
    response.headers["X-Request-Id"] = trace.request_id
    log(
        "request",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        ms=round((time.perf_counter() - trace.started_at) * 1000, 1),
        request_id=trace.request_id,
        user_uuid=g.get("user_uuid"),
        dynamodb_requests=trace.dynamodb.requests,
        dynamodb_read_units=trace.dynamodb.read_units,
        dynamodb_write_units=trace.dynamodb.write_units,
        postgres_requests=trace.postgres.requests,
    )
    return response
