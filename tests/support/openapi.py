"""The contract as tests read it: `openapi.yaml`, its operations and its references."""

from __future__ import annotations

from typing import Any

import yaml

from lib.config import ROOT

Node = dict[str, Any]
"""A part of the document: an object of OpenAPI or a JSON schema."""

DOCUMENT: Node = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))


def resolve(node: Node) -> Node:
    """The target of a `$ref`, with the keys beside it; any other node as it is."""
    while "$ref" in node:
        target: Any = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


OPERATIONS: list[Node] = [
    {
        **operation,
        "method": method.upper(),
        "path": path,
        "parameters": [resolve(parameter) for part in (item, operation) for parameter in part.get("parameters", [])],
        "public": not operation.get("security", DOCUMENT["security"]),
    }
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in ("get", "post", "put", "patch", "delete")
]
"""The operations in the document's order, each with its method, its path and all of its parameters."""
