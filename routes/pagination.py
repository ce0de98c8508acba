"""What all lists have in common over HTTP: pages, the links between them, and the way to what moves."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request

from lib.ddb.queries import Page
from routes.dependencies import dependencies
from routes.etags import with_etag

_PLACES = ("cursor", "since", "before", "after", "around")


def page_args(*names: str) -> dict[str, str | None]:
    """The page that the client asks for, unchecked: its limit and these arguments."""
    given = request.args.to_dict()  # of several values, the first; a MultiDict makes an exception for what it lacks
    return {name: given.get(name) for name in ("limit", *names)}


def page_response(rows: list[dict[str, Any]], page: Page[Any]) -> Response:
    """A page as JSON, with `Link` to the pages beside it (RFC 8288), and `Feed-Cursor` to what moves from now on."""
    response = jsonify(rows)
    if links := [_link(rel, place) for rel, place in (("next", page.next), ("prev", page.prev)) if place]:
        response.headers["Link"] = ", ".join(links)
    if page.feed_cursor is not None:
        response.headers["Feed-Cursor"] = page.feed_cursor
    return with_etag(response, cache_control="private, no-cache")


def _link(rel: str, place: dict[str, str]) -> str:
    others = {name: value for name, value in request.args.items() if name not in _PLACES}
    return f'<{dependencies().settings.backend_url}{request.path}?{urlencode(others | place)}>; rel="{rel}"'
