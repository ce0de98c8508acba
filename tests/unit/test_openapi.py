"""openapi.yaml, the routes and their authentication agree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient

from app import EXPOSED_HEADERS
from services.errors import Code
from services.validation import DEFAULT_LIMIT, MAX_LIMIT, MESSAGE_MAX_CHARS, REASON_MAX_CHARS
from tests.support.openapi import DOCUMENT, OPERATIONS, Node, resolve
from tests.unit import test_app, test_docs

EACH_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation["operationId"])

app = test_app.app
client = test_app.client


def test_document_is_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_document_has_the_routes_of_the_application(app: Flask) -> None:
    routes = {
        (method, re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint not in ("docs.get_docs_file", "web.get_page", "web.get_file")  # the files of two pages
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(operation["method"], operation["path"]) for operation in OPERATIONS} == routes


@EACH_OPERATION
def test_route_needs_a_token_unless_it_is_public(client: FlaskClient, operation: Node) -> None:
    response = client.open(path_of(operation), method=operation["method"])
    if operation["public"]:
        assert response.status_code != 401
        assert operation["responses"].keys() & {"401", "403"} == set()
    else:
        assert (response.status_code, response.json) == (401, ["token_missing"])
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="cruddur"'
        assert operation["method"] != "GET" or client.head(path_of(operation)).status_code == 401
        assert operation["responses"].keys() >= {"401", "403"}


def test_every_operation_has_a_limit_except_health_checks(app: Flask) -> None:
    unlimited = {operation["path"] for operation in OPERATIONS if "429" not in operation["responses"]}
    assert unlimited == {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("health.")}


def test_document_has_the_codes_of_the_application() -> None:
    schema = DOCUMENT["components"]["schemas"]["Code"]
    assert sorted(schema["enum"]) == sorted(Code)
    assert re.findall(r"^- `(\w+)`: .", schema["description"], re.MULTILINE) == schema["enum"]
    refusals = {
        (int(status), code)
        for operation in OPERATIONS
        for status, response in operation["responses"].items()
        if status >= "400"
        for code in schema_of(response)["items"]["enum"]
    }
    # No documented operation returns the first, and every operation the second.
    others = {(405, Code.METHOD_NOT_ALLOWED), (431, Code.HEADERS_TOO_LARGE)}
    assert refusals | others == set(test_docs._raised_codes())


def test_browsers_may_read_the_documented_headers() -> None:
    # A browser lets every page read the first, and no client needs the second.
    assert DOCUMENT["components"]["headers"].keys() - {"Cache-Control", "Content-Security-Policy"} == set(
        EXPOSED_HEADERS
    )


@EACH_OPERATION
def test_every_response_is_described_completely(operation: Node) -> None:
    assert operation["responses"].keys() >= {"400", "500"}
    assert len(operation["responses"].keys() & {"200", "201", "204"}) == 1
    for status, response in operation["responses"].items():
        headers = resolve(response)["headers"]
        assert "X-Request-Id" in headers
        assert ("WWW-Authenticate" in headers, "Retry-After" in headers) == (status == "401", status in ("429", "503"))
        assert (status in ("204", "304")) == ("content" not in resolve(response))
        for schema in objects(schema_of(response)):
            assert schema["additionalProperties"] is False
            optional = schema["properties"].keys() - set(schema["required"])
            assert all(resolve(schema["properties"][name]).get("const") is True for name in optional)


def test_every_reference_is_valid_and_every_component_is_used() -> None:
    used = {node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node}
    used |= {f"#/components/securitySchemes/{name}" for scheme in DOCUMENT["security"] for name in scheme}
    assert used == {f"#/components/{kind}/{name}" for kind, parts in DOCUMENT["components"].items() for name in parts}


def test_every_example_is_valid() -> None:
    contents = [node for node in nodes(DOCUMENT) if "schema" in node]
    pairs = [(content["schema"], content["example"]) for content in contents if "example" in content]
    pairs += [
        (content["schema"], item["value"]) for content in contents for item in content.get("examples", {}).values()
    ]
    pairs += [
        (schema, schema["example"]) for schema in DOCUMENT["components"]["schemas"].values() if "example" in schema
    ]
    assert len(pairs) > 20
    for schema, value in pairs:
        validator(schema).validate(value)


def test_page_has_the_limits_of_the_application() -> None:
    limit = DOCUMENT["components"]["parameters"]["Limit"]["schema"]
    assert (limit["default"], limit["maximum"]) == (DEFAULT_LIMIT, MAX_LIMIT)
    lists = [schema for node in nodes(DOCUMENT) for schema in [node.get("schema", {})] if "maxItems" in schema]
    assert [schema["maxItems"] for schema in lists] == [MAX_LIMIT] * 3
    assert f"`limit` is not a number from 1 to {MAX_LIMIT}." in DOCUMENT["components"]["schemas"]["Code"]["description"]


def test_text_has_the_limit_of_the_application() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {schemas[name]["maxLength"] for name in ("NewText", "Text")} == {MESSAGE_MAX_CHARS}
    assert REASON_MAX_CHARS == MESSAGE_MAX_CHARS  # a report's reason is a NewText, too


def test_new_message_has_text_and_one_receiver() -> None:
    new = validator({"$ref": "#/components/schemas/NewMessage"})
    text, group = {"message": "Hi"}, {"message_group_uuid": "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"}
    assert new.is_valid({**text, **group, "handle": None})
    for body in (
        text,
        group,
        {**text, **group, "handle": "b"},
        {**group, "message": " \n"},
        {**group, "message": "\0"},
    ):
        assert not new.is_valid(body)


def path_of(operation: Node) -> str:
    return operation["path"].format(
        **{parameter["name"]: parameter.get("example") for parameter in operation["parameters"]}
    )


def schema_of(response: Node) -> Node:
    """The schema of a response's body; empty if it has none."""
    content = resolve(response).get("content", {})
    return next((body["schema"] for body in content.values()), {})


def nodes(value: Any) -> Iterator[Node]:
    """Every object of a part of the document, at any depth."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)


def objects(schema: Node) -> Iterator[Node]:
    """The schemas of the objects that a schema allows, at any depth."""
    for node in nodes(schema):
        if "$ref" in node:
            yield from objects(resolve({"$ref": node["$ref"]}))
        elif node.get("type") == "object" and "properties" in node:
            yield node


def validator(schema: Node) -> Any:
    rooted = {**schema, "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(json.loads(json.dumps(rooted)), validate_formats=True)
