"""The contract's document, `openapi.yaml` of the checkout, and what a reader wants to know of its parts.

Knows nothing of how it is shown.
"""

from __future__ import annotations

import json
import shlex
from functools import cache
from typing import Any

from lib.config import ROOT

Node = dict[str, Any]
"""A part of the document: an object of OpenAPI or a JSON schema."""

_METHODS = ("get", "post", "put", "patch", "delete")


@cache
def document() -> Node:
    """`openapi.yaml`, parsed."""
    import yaml  # 20 ms, needed at the first reader, if there is one

    loaded: Node = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    return loaded


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
