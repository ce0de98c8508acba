"""The body of a request, as JSON."""

from __future__ import annotations

import json

from flask import request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from services.errors import Code, Invalid

MAX_BODY_BYTES = 16 * 1024
REFUSED = "cruddur.refused"
"""The key in the WSGI environ for the status with which asgi.py refuses a request."""
BEGAN = "cruddur.began"
"""The key in the WSGI environ for the time when the headers arrived, of time.perf_counter."""


def json_body() -> object:
    """The parsed body. Raises Invalid for malformed JSON, HTTPException for another content type, size or framing."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    try:
        data = request.get_data(cache=False)
    except OSError as error:  # `flask run` raises it for malformed chunks
        raise BadRequest from error
    if len(data) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    try:
        body: object = json.loads(data.decode("utf-8-sig"))  # json.loads(bytes) would accept UTF-16 and surrogates, too
    except (ValueError, RecursionError) as error:
        raise Invalid(Code.BODY_INVALID) from error
    return body
