"""The headers that keep responses out of caches, browsers from guessing, and requests off plain HTTP."""

from __future__ import annotations

from flask import Flask, Response

HSTS_SECONDS = 365 * 24 * 60 * 60


def protect_responses(app: Flask, *, hsts: bool) -> None:
    """Add the headers to every response of an application; a route may set its own `Cache-Control` first.

    `hsts`: the clients reach the application by https, so they shall never try http.
    """

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.setdefault("Cache-Control", "private, no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        if hsts:
            response.headers["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
        return response
