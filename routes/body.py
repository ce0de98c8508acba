"""What a client sent, as JSON."""

from __future__ import annotations

import json
from queue import Empty, SimpleQueue
from threading import Thread

from flask import request
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from services.errors import Code, Invalid

MAX_BODY_BYTES = 16 * 1024
BODY_SECONDS = 5


def json_body() -> object:
    """The request's body, parsed. Raises Invalid; HTTPException for what is no JSON, too large or badly framed."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    data = _received()
    if len(data) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    try:
        body: object = json.loads(data.decode("utf-8-sig"))  # given bytes, json would take UTF-16 and surrogates too
    except (ValueError, RecursionError) as error:
        raise Invalid(Code.BODY_INVALID) from error
    return body


def _received() -> bytes:
    """The body's bytes. Raises HTTPException, also for a client that stops in the middle of them.

    The server waits for the rest as long as the client keeps the connection, so it is not this request's thread that
    waits: it would be lost for all others.
    """
    stream = request.stream
    outcome: SimpleQueue[bytes | Exception] = SimpleQueue()

    def read() -> None:
        try:
            outcome.put(stream.read())
        except Exception as error:
            outcome.put(error)

    Thread(target=read, daemon=True).start()
    try:
        data = outcome.get(timeout=BODY_SECONDS)
    except Empty as error:
        raise BadRequest from error
    if isinstance(data, HTTPException):
        raise data
    if isinstance(data, Exception):  # each server has its own errors for a body that is not framed as HTTP says
        raise BadRequest from data
    return data
