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
from tests.support.openapi import DOCUMENT, OPERATIONS, Node, resolve
from tests.unit import test_app, test_docs

EACH_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each["operationId"])

app = test_app.app
client = test_app.client


def test_it_is_an_openapi_document() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_its_routes_are_those_of_the_application(app: Flask) -> None:
    routes = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "docs.get_docs_file"  # the files of the page at /api/docs
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(each["method"], each["path"]) for each in OPERATIONS} == routes


@EACH_OPERATION
def test_a_route_refuses_without_a_token_unless_it_is_public(client: FlaskClient, operation: Node) -> None:
    response = client.open(path_of(operation), method=operation["method"])
    if operation["public"]:
        assert response.status_code != 401
        assert operation["responses"].keys() & {"401", "403"} == set()
    else:
        assert (response.status_code, response.json) == (401, ["token_missing"])
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="cruddur"'
        assert operation["method"] != "GET" or client.head(path_of(operation)).status_code == 401
        assert operation["responses"].keys() >= {"401", "403"}


def test_its_codes_are_those_of_the_application() -> None:
    described = DOCUMENT["components"]["schemas"]["Code"]["oneOf"]
    assert sorted(each["const"] for each in described) == sorted(Code)
    assert all(each["description"] for each in described)
    answers = {
        (int(status), code)
        for operation in OPERATIONS
        for status, answer in operation["responses"].items()
        if status >= "400"
        for code in schema_of(answer)["items"]["enum"]
    }
    # An operation that is there is never answered so.
    assert answers | {(405, Code.METHOD_NOT_ALLOWED)} == set(test_docs._answers())


def test_browsers_may_read_its_headers() -> None:
    # Every page may read the first, and no program wants the second.
    assert DOCUMENT["components"]["headers"].keys() - {"Cache-Control", "Content-Security-Policy"} == set(
        EXPOSED_HEADERS
    )


@EACH_OPERATION
def test_every_answer_is_described_to_its_end(operation: Node) -> None:
    assert operation["responses"].keys() >= {"200", "400", "500"}
    for status, answer in operation["responses"].items():
        headers = resolve(answer)["headers"]
        assert "X-Request-Id" in headers
        assert ("WWW-Authenticate" in headers, "Retry-After" in headers) == (status == "401", status == "503")
        assert (status == "304") == ("content" not in resolve(answer))
        for schema in objects(schema_of(answer)):
            assert schema["additionalProperties"] is False
            assert set(schema["required"]) == schema["properties"].keys()


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    used = {each["$ref"] for each in nodes(DOCUMENT) if "$ref" in each}
    used |= {f"#/components/securitySchemes/{name}" for each in DOCUMENT["security"] for name in each}
    there = {f"#/components/{kind}/{name}" for kind, parts in DOCUMENT["components"].items() for name in parts}
    assert used == there


def test_every_example_is_valid() -> None:
    contents = [each for each in nodes(DOCUMENT) if "schema" in each]
    pairs = [(each["schema"], each["example"]) for each in contents if "example" in each]
    pairs += [(each["schema"], one["value"]) for each in contents for one in each.get("examples", {}).values()]
    pairs += [(each, each["example"]) for each in DOCUMENT["components"]["schemas"].values() if "example" in each]
    assert len(pairs) > 20
    for schema, value in pairs:
        validator(schema).validate(value)


def test_a_new_message_has_text_and_one_receiver() -> None:
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
    return operation["path"].format(**{each["name"]: each.get("example") for each in operation["parameters"]})


def schema_of(answer: Node) -> Node:
    """The schema of an answer's body; empty if it has none."""
    content = resolve(answer).get("content", {})
    return next((each["schema"] for each in content.values()), {})


def nodes(value: Any) -> Iterator[Node]:
    """Every object of a part of the document, however deep."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(each)


def objects(schema: Node) -> Iterator[Node]:
    """The schemas of the objects that a schema allows, at any depth."""
    for each in nodes(schema):
        if "$ref" in each:
            yield from objects(resolve({"$ref": each["$ref"]}))
        elif each.get("type") == "object" and "properties" in each:
            yield each


def validator(schema: Node) -> Any:
    rooted = {**schema, "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(json.loads(json.dumps(rooted)), validate_formats=True)
