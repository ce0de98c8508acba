"""Turns errors into responses: a status, a JSON array of codes, and headers."""

from __future__ import annotations

import logging

from flask import Flask, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from lib.logs import log
from services.errors import (
    Code,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotAccepted,
    NotFound,
    PreconditionFailed,
    RateLimited,
    ServiceError,
    TooMany,
    Unauthenticated,
    Unavailable,
)

RETRY_AFTER_SECONDS = 1

IS_DELAYED = "cruddur.is_delayed"
"""Key in the WSGI environ: asgi.py delays the response, so that a flood takes few threads."""

STATUS_BY_ERROR = {
    Invalid: 422,
    Unauthenticated: 401,
    Forbidden: 403,
    NotAccepted: 403,
    NotFound: 404,
    Conflict: 409,
    Gone: 410,
    PreconditionFailed: 412,
    RateLimited: 429,
    TooMany: 429,
    Unavailable: 503,
}
CODE_BY_STATUS = {
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    408: Code.BODY_TOO_SLOW,
    413: Code.BODY_TOO_LARGE,
    415: Code.CONTENT_TYPE_UNSUPPORTED,
    431: Code.HEADERS_TOO_LARGE,
    503: Code.SERVER_BUSY,
}


def handle_errors(app: Flask) -> None:
    """Register the error handlers with an application."""
    app.register_error_handler(ServiceError, handle_service_error)
    app.register_error_handler(HTTPException, handle_http_error)
    app.register_error_handler(Exception, handle_unexpected_error)


def handle_service_error(error: ServiceError) -> ResponseReturnValue:
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = _challenge(error.codes[0])
    if isinstance(error, Unavailable | TooMany):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if isinstance(error, RateLimited):
        seconds = str(error.retry_after)
        headers = {"RateLimit-Limit": str(error.limit), "RateLimit-Remaining": "0", "RateLimit-Reset": seconds}
        headers["Retry-After"] = seconds
        request.environ[IS_DELAYED] = True
    if isinstance(error, Unavailable) and Code.LIVE_UPDATES_UNAVAILABLE not in error.codes:  # which is no outage
        log(
            "unavailable",
            level=logging.WARNING,
            error=error,
            codes=error.codes,
            cause=repr(error.__cause__),
            request_id=g.trace.request_id,
        )
    return jsonify(error.codes), STATUS_BY_ERROR[type(error)], headers


def handle_http_error(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    code = CODE_BY_STATUS.get(status, Code.BAD_REQUEST if status < 500 else Code.INTERNAL_ERROR)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else {}
    if allow := error.get_response().headers.get("Allow"):
        headers["Allow"] = allow
    return jsonify([code]), status, headers


def handle_unexpected_error(error: Exception) -> ResponseReturnValue:
    code = getattr(error, "code", None)  # DynamoDB's code, if DynamoDB rejected a request
    log("request_failed", level=logging.ERROR, error=error, code=code, request_id=g.trace.request_id)
    return jsonify([Code.INTERNAL_ERROR]), 500


def _challenge(code: Code) -> str:
    """RFC 6750 section 3: omit `error` when the request had no token."""
    if code is Code.TOKEN_MISSING:
        return 'Bearer realm="cruddur"'
    kind = "invalid_request" if code is Code.TOKEN_MALFORMED else "invalid_token"
    return f'Bearer realm="cruddur", error="{kind}", error_description="{code}"'
