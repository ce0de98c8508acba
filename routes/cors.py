"""Which pages may read the answers (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol): those of few origins."""

from __future__ import annotations

from collections.abc import Collection

from flask import Response, request

PREFLIGHT_SECONDS = 3600  # each `since` is another URL, and browsers ask for each
METHODS = "DELETE, GET, HEAD, POST"
EXPOSED_HEADERS = (
    *("ETag", "Feed-Cursor", "Idempotency-Replayed", "Link"),
    *("Retry-After", "WWW-Authenticate", "X-Request-Id"),
)


def allow(response: Response, origins: Collection[str]) -> None:
    """Let pages of these origins read the answer; of a preflight request, let them send what it asks for."""
    origin = request.headers.get("Origin")
    if origin is None or origin.lower() not in map(str.lower, origins):
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED_HEADERS)
    response.headers.add("Vary", "Origin")
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = METHODS
        response.headers["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "")
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
