"""What all lists have in common over HTTP: pages and the links between them (DESIGN.md section 4)."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import request

from routes.backend import backend


def paging() -> dict[str, str | None]:
    """The page that the client asks for, unchecked."""
    return {"limit": request.args.get("limit"), "cursor": request.args.get("cursor")}


def links(next_cursor: str | None) -> dict[str, str]:
    """The header that leads to the next page (RFC 8288); none on the last."""
    if next_cursor is None:
        return {}
    query = urlencode({**request.args.to_dict(), "cursor": next_cursor})
    return {"Link": f'<{backend().settings.backend_url}{request.path}?{query}>; rel="next"'}
