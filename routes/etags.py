"""ETags: a client caches a response and asks later whether it is still current."""

from __future__ import annotations

from hashlib import sha256

from flask import Response, request


def with_etag(response: Response, *, cache_control: str) -> Response:
    """Add an ETag to a response. If the client already has it, make it a 304 without a body (RFC 9110, If-None-Match).

    The ETag covers `Link` too: when another page follows a page, the page gets a new ETag.
    """
    etag = sha256(response.get_data() + response.headers.get("Link", "").encode()).hexdigest()[:32]
    response.set_etag(etag)
    response.headers["Cache-Control"] = cache_control
    if request.if_none_match.contains_weak(etag):
        response.status_code = 304
        response.set_data(b"")
    return response
