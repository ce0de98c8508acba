"""Pages of lists over HTTP: query arguments, links to other pages, and the feed cursor."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request

from lib.ddb.queries import Page
from routes.dependencies import dependencies
from routes.etags import with_etag
from services.errors import Code, Invalid

POSITIONS = ("cursor", "since", "before", "after", "around")


def page_args() -> dict[str, str]:
    """The query arguments, unchecked; if a name occurs twice, its first value. Raises Invalid for two positions."""
    values = request.args.to_dict(flat=False)
    if any(len(values.get(name, ())) > 1 for name in POSITIONS):
        raise Invalid(Code.POSITION_AMBIGUOUS)
    return {name: texts[0] for name, texts in values.items()}


def page_response(rows: list[dict[str, Any]], page: Page[Any], **args: str | None) -> Response:
    """A page as JSON. `Link` leads to the adjacent pages (RFC 8288), `Feed-Cursor` to later changes.

    `args` are the query arguments that all pages of the list share, such as `limit`.
    """
    response = jsonify(rows)
    query = {name: value for name, value in args.items() if value is not None}
    adjacent = {"next": page.next, "prev": page.prev}
    if links := [_link(rel, query | position) for rel, position in adjacent.items() if position]:
        response.headers["Link"] = ", ".join(links)
    if page.feed_cursor is not None:
        response.headers["Feed-Cursor"] = page.feed_cursor
    return with_etag(response, cache_control="private, no-cache")


def _link(rel: str, query: dict[str, str]) -> str:
    return f'<{dependencies().settings.backend_url}{request.path}?{urlencode(query)}>; rel="{rel}"'
