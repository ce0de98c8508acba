"""Answers that a client may keep, if it asks each time whether they are still the same."""

from __future__ import annotations

from hashlib import sha256

from flask import Response, request


def with_etag(response: Response, *, cache_control: str) -> Response:
    """An answer with its ETag; a 304 without a body where the client has this one (RFC 9110, If-None-Match).

    `Link` counts as part of it: a page that is followed by another now is no longer the same.
    """
    etag = sha256(response.get_data() + response.headers.get("Link", "").encode()).hexdigest()[:32]
    response.set_etag(etag)
    response.headers["Cache-Control"] = cache_control
    if request.if_none_match.contains_weak(etag):
        response.status_code = 304
        response.set_data(b"")
    return response
