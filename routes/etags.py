"""ETags: a client caches a response and asks later whether it is still current."""

from __future__ import annotations

from hashlib import sha256

from flask import Response, request


def make_etag(content: bytes) -> str:
    """The ETag of a content."""
    return sha256(content).hexdigest()[:32]


def with_etag(response: Response, *, cache_control: str, etag: str | None = None) -> Response:
    """Add an ETag to a response. If a reader already has it, make it a 304 without a body (RFC 9110, If-None-Match).

    The default ETag covers `Link` too: when another page follows a page, the page gets a new ETag.
    """
    if etag is None:
        etag = make_etag(response.get_data() + response.headers.get("Link", "").encode())
    response.set_etag(etag)
    response.headers["Cache-Control"] = cache_control
    if request.method in ("GET", "HEAD") and request.if_none_match.contains_weak(etag):
        response.status_code = 304
        response.set_data(b"")
    return response
