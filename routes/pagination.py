"""Pages of lists over HTTP: query arguments, links to other pages, and the feed cursor."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request

from lib.ddb.queries import Page
from routes.dependencies import dependencies
from routes.etags import with_etag

_POSITIONS = ("cursor", "since", "before", "after", "around")


def page_args() -> dict[str, str]:
    """The query arguments, unchecked. If a name occurs twice, its first value."""
    return request.args.to_dict()


def page_response(rows: list[dict[str, Any]], page: Page[Any]) -> Response:
    """A page as JSON. `Link` leads to the adjacent pages (RFC 8288), `Feed-Cursor` to later changes."""
    response = jsonify(rows)
    if links := [_link(rel, position) for rel, position in (("next", page.next), ("prev", page.prev)) if position]:
        response.headers["Link"] = ", ".join(links)
    if page.feed_cursor is not None:
        response.headers["Feed-Cursor"] = page.feed_cursor
    return with_etag(response, cache_control="private, no-cache")


def _link(rel: str, position: dict[str, str]) -> str:
    other_args = {name: value for name, value in request.args.items() if name not in _POSITIONS}
    return f'<{dependencies().settings.backend_url}{request.path}?{urlencode(other_args | position)}>; rel="{rel}"'
