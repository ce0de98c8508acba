"""The body of a request, as JSON."""

from __future__ import annotations

import json

from flask import request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from services.errors import Code, Invalid

MAX_BODY_BYTES = 16 * 1024
REFUSED_STATUS = "cruddur.refused_status"
"""Key in the WSGI environ: the status of a request that asgi.py refuses."""
STARTED_AT = "cruddur.started_at"
"""Key in the WSGI environ: the time at which the headers arrived, by time.perf_counter."""


def json_body() -> object:
    """The parsed body. Raises Invalid for malformed JSON, HTTPException for a wrong content type, size or framing."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    try:
        data = request.get_data(cache=False)
    except OSError as error:  # `flask run` raises it for malformed chunks
        raise BadRequest from error
    if len(data) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    try:
        body: object = json.loads(data.decode("utf-8-sig"))  # json.loads(bytes) would also accept UTF-16 and surrogates
    except (ValueError, RecursionError) as error:
        raise Invalid(Code.BODY_INVALID) from error
    return body
