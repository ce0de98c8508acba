"""The contract to read: `openapi.yaml` of the checkout, as JSON for programs and as a page for people.

The page is rendered from the document alone, on the server: it runs no script and loads nothing. Both are made at
the first request and remembered.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache

from flask import Blueprint, Response, render_template
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from lib.openapi import curl, document, example, facts, operations, resolve
from routes.dependencies import dependencies
from routes.etags import with_etag

reference = Blueprint("reference", __name__, url_prefix="/api", template_folder="templates")


@reference.get("/openapi.json")
def get_openapi() -> ResponseReturnValue:
    return with_etag(Response(_as_json(), mimetype="application/json"), cache_control="no-cache")


@reference.get("/docs")
def get_reference() -> ResponseReturnValue:
    page, policy = _page(dependencies().settings.backend_url)
    response = Response(page, mimetype="text/html", headers={"Content-Security-Policy": policy})
    return with_etag(response, cache_control="no-cache")


@cache
def _as_json() -> str:
    return json.dumps(document(), ensure_ascii=False)


@cache
def _page(base_url: str) -> tuple[str, str]:
    """The page, and the policy that allows it nothing but its own style."""
    from markdown_it import MarkdownIt  # needed at the first reader, if there is one

    markdown = MarkdownIt("commonmark", {"html": False})
    style = render_template("reference.css")
    page = render_template(
        "reference.html",
        document=document(),
        operations=operations(),
        style=Markup(style),  # noqa: S704 - a file of this checkout
        base_url=base_url,
        resolve=resolve,
        facts=facts,
        example=example,
        curl=curl,
        pretty=lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        prose=lambda text: Markup(markdown.render(text)),  # noqa: S704 - it escapes HTML
        phrase=lambda text: Markup(markdown.renderInline(text)),  # noqa: S704
    )
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    refused = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return page, f"default-src 'none'; style-src 'sha256-{allowed}'; {refused}"
