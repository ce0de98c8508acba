"""The contract to read: `openapi.yaml` of the checkout, as JSON for programs and as a page for people.

The page is rendered from the document alone, on the server: it runs no script and loads nothing. Both are made at
the first request and remembered.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from functools import cache
from typing import Any

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from lib.config import ROOT
from routes.backend import backend

reference = Blueprint("reference", __name__, url_prefix="/api", template_folder="templates")

Node = dict[str, Any]
"""A part of the document: an object of OpenAPI or a JSON schema."""

_METHODS = ("get", "post", "put", "patch", "delete")


@reference.get("/openapi.json")
def get_openapi() -> ResponseReturnValue:
    return _to_be_kept(Response(_as_json(), mimetype="application/json"))


@reference.get("/docs")
def get_reference() -> ResponseReturnValue:
    page, policy = _page(backend().settings.backend_url)
    return _to_be_kept(Response(page, mimetype="text/html", headers={"Content-Security-Policy": policy}))


@cache
def document() -> Node:
    """`openapi.yaml`, parsed."""
    import yaml  # 20 ms that a process needs at its first reader, if there is one

    loaded: Node = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    return loaded


@cache
def _as_json() -> str:
    return json.dumps(document(), ensure_ascii=False)


def operations() -> list[Node]:
    """The operations in the document's order, each with its method, its path and all of its parameters."""
    return [
        {
            **operation,
            "method": method.upper(),
            "path": path,
            "parameters": [resolve(each) for part in (item, operation) for each in part.get("parameters", [])],
            "public": not operation.get("security", document()["security"]),
        }
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    ]


def resolve(node: Node) -> Node:
    """What a `$ref` leads to, with what stands beside it; anything else as it is."""
    while "$ref" in node:
        target: Any = document()
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def facts(schema: Node) -> str:
    """What a schema says of a value's form, in words: `integer, 1 to 100, default 20`."""
    schema = resolve(schema)
    kind = schema.get("type")
    words = [" or ".join(kind) if isinstance(kind, list) else kind, schema.get("format")]
    if "const" in schema:
        words.append(json.dumps(schema["const"]))
    if "enum" in schema:
        words.append(" or ".join(json.dumps(value) for value in schema["enum"]))
    for low, high, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", "character"),
        ("minItems", "maxItems", "item"),
    ):
        words.append(_range(schema.get(low), schema.get(high), unit))
    if "default" in schema:
        words.append(f"default {json.dumps(schema['default'])}")
    return ", ".join(word for word in words if word)


def example(content: Node) -> Any:
    """The first example of a body: its own, or its schema's, or one item for an array."""
    if "examples" in content:
        return next(iter(content["examples"].values()))["value"]
    schema = resolve(content["schema"])
    if "example" not in content and "items" in schema:
        return [example({"schema": schema["items"]})]
    return content.get("example", schema.get("example"))


def curl(operation: Node, base_url: str) -> str:
    """The operation as a command to paste, with the document's own examples."""
    path = operation["path"]
    for each in operation["parameters"]:
        path = path.replace(f"{{{each['name']}}}", str(each.get("example")))
    words = ["curl -s"]
    if not operation["public"]:
        words.append('-H "Authorization: Bearer $TOKEN"')
    if "requestBody" in operation:
        body = example(operation["requestBody"]["content"]["application/json"])
        words += ['-H "Content-Type: application/json"', f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}"]
    elif operation["method"] != "GET":
        words.append(f"-X {operation['method']}")
    return " ".join([*words, base_url + path])


@cache
def _page(base_url: str) -> tuple[str, str]:
    """The page, and the policy that allows it nothing but its own style."""
    from markdown_it import MarkdownIt  # as yaml above

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


def _range(low: int | None, high: int | None, unit: str) -> str:
    last = low if high is None else high
    if last is None:
        return ""
    if low == high:
        words = f"{low}"
    elif high is None:
        words = f"at least {low}"
    elif low is None:
        words = f"at most {high}"
    else:
        words = f"{low} to {high}"
    return f"{words} {unit}{'s' if last != 1 else ''}" if unit else words


def _to_be_kept(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response
