"""What a client sent, as JSON."""

from __future__ import annotations

import json

from flask import request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from services.errors import Code, Invalid

MAX_BODY_BYTES = 16 * 1024
REFUSED = "cruddur.refused"
"""Where a WSGI environ holds the status of a request that the server refuses; the application answers it."""
BEGAN = "cruddur.began"
"""Where it holds when the server had the request's headers, by time.perf_counter."""


def json_body() -> object:
    """The request's body, parsed. Raises Invalid; HTTPException for what is no JSON, too large or badly framed."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    try:
        data = request.get_data(cache=False)
    except OSError as error:  # `flask run` raises it for malformed chunks
        raise BadRequest from error
    if len(data) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    try:
        body: object = json.loads(data.decode("utf-8-sig"))  # given bytes, json would take UTF-16 and surrogates too
    except (ValueError, RecursionError) as error:
        raise Invalid(Code.BODY_INVALID) from error
    return body
