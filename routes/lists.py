"""What all lists have in common over HTTP: pages, the links between them, and answers that can be asked for again."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request

from lib.ddb.lists import Page
from routes.backend import backend

_PLACES = ("cursor", "since", "before", "after", "around")


def asked(*names: str) -> dict[str, str | None]:
    """The page that the client asks for, unchecked: its limit and these arguments."""
    return {name: request.args.get(name) for name in ("limit", *names)}


def answer(rows: list[dict[str, Any]], page: Page[Any]) -> Response:
    """A page as JSON; 304 without it where the client has the same one (RFC 9110, If-None-Match).

    `Link` leads to the pages beside it (RFC 8288), `Feed-Cursor` to what moves from now on.
    """
    response = jsonify(rows)
    response.add_etag()
    response.headers["Cache-Control"] = "private, no-cache"
    if links := [_link(rel, place) for rel, place in (("next", page.next), ("prev", page.prev)) if place]:
        response.headers["Link"] = ", ".join(links)
    if page.feed_cursor is not None:
        response.headers["Feed-Cursor"] = page.feed_cursor
    if request.if_none_match.contains_weak(response.get_etag()[0] or ""):
        response.status_code = 304
        response.set_data(b"")
    return response


def _link(rel: str, place: dict[str, str]) -> str:
    kept = {name: value for name, value in request.args.items() if name not in _PLACES}
    return f'<{backend().settings.backend_url}{request.path}?{urlencode(kept | place)}>; rel="{rel}"'
