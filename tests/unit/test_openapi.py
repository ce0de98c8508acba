"""openapi.yaml, the routes and their auth say the same, and the page shows all of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import EXPOSED_HEADERS
from lib.config import ROOT
from lib.openapi import Node, curl, document, example, facts, operations, resolve
from services.errors import Code
from tests.unit import test_app, test_docs

DOCUMENT = document()
OPERATIONS = operations()
EACH_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each["operationId"])

app = test_app.app
client = test_app.client


@pytest.fixture
def page(client: FlaskClient) -> TestResponse:
    return client.get("/api/docs")


def test_it_is_an_openapi_document() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()


@pytest.mark.parametrize(
    "wrong", [{"info": {}}, {"paths": {"/x": {"get": {"responses": {"200": {}}}}}}, {"openapi": "3.1.0", "extra": 1}]
)
def test_what_is_no_openapi_document_is_found(wrong: Node) -> None:
    with pytest.raises(jsonschema_rs.ValidationError):
        schemathesis.openapi.from_dict({**DOCUMENT, **wrong}).validate()


def test_its_routes_are_those_of_the_application(app: Flask) -> None:
    routes = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
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


def test_the_readme_has_every_route() -> None:
    requests = [request for request, _ in test_docs._table(test_docs.README, "Request")]
    listed = {re.sub(r"<(\w+)>", r"{\1}", re.findall(r"[A-Z]+ [^\s`?]+", request)[0]) for request in requests}
    assert listed == {f"{each['method']} {each['path']}" for each in OPERATIONS}


@pytest.mark.parametrize("path", ["/api/openapi.json", "/api/docs"])
def test_who_has_the_document_is_not_sent_it_again(client: FlaskClient, path: str) -> None:
    tag = client.get(path).headers["ETag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert client.get(path, headers={"If-None-Match": '"x"', "If-Match": '"x"'}).status_code == 200


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


def test_a_wrong_example_is_found() -> None:
    message = {"$ref": "#/components/schemas/Message"}
    good = example({"schema": message})
    for wrong in ({"seq": 0}, {"uuid": "x"}, {"created_at": "yesterday"}, {"message": ""}, {"extra": 1}):
        assert not validator(message).is_valid({**good, **wrong})
    new = {"$ref": "#/components/schemas/NewMessage"}
    text, group = {"message": "Hi"}, {"message_group_uuid": "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"}
    assert validator(new).is_valid({**text, **group, "handle": None})
    for wrong in (
        text,
        group,
        {**text, **group, "handle": "b"},
        {**group, "message": " \n"},
        {**group, "message": "\0"},
    ):
        assert not validator(new).is_valid(wrong)


def test_programs_get_it_as_json(client: FlaskClient) -> None:
    response = client.get("/api/openapi.json")
    assert response.json == DOCUMENT
    assert "🍵".encode() in response.data


@pytest.mark.parametrize("path", ["/api/openapi.json", "/api/docs"])
def test_who_has_it_need_not_load_it_again(client: FlaskClient, path: str) -> None:
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.data) == (200, 304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert client.get(path, headers={"If-None-Match": '"another"'}).data == first.data


def test_no_process_reads_it_before_somebody_asks() -> None:
    code = "import app, sys; print({'yaml', 'markdown_it'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_page_shows_everything(page: TestResponse) -> None:
    reader = Reader(page.text)
    schemas, headers = DOCUMENT["components"]["schemas"], DOCUMENT["components"]["headers"]
    assert set(reader.ids) >= {f"schema-{name}" for name in schemas} | {f"header-{name}" for name in headers}
    assert set(reader.ids) >= {f"code-{code}" for code in Code}
    for operation in OPERATIONS:
        section = reader.text_of(operation["operationId"])
        assert f"{operation['method']} {operation['path']}" in section
        assert section.count("public") >= operation["public"]
        assert curl(operation, "http://localhost:4567") in section
        assert {each["name"] for each in operation["parameters"]} | operation["responses"].keys() <= set(
            section.split()
        )
    for name, schema in schemas.items():
        assert schema.get("properties", {}).keys() <= set(reader.text_of(f"schema-{name}").split())


def test_the_page_needs_nothing_but_itself(page: TestResponse) -> None:
    reader = Reader(page.text)
    assert reader.loads == []
    outside = {link for link in reader.links if not link.startswith("#")}
    assert outside == {"/api/openapi.json"}
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert re.findall(r"url\(|@import", page.text) == []


def test_the_page_may_do_nothing_but_look_as_it_does(page: TestResponse) -> None:
    style = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    digests = [f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in style]
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy.pop("style-src").split() == digests
    assert set(policy) == {"default-src", "base-uri", "form-action", "frame-ancestors"}
    assert set(policy.values()) == {"'none'"}
    assert " style=" not in page.text


def test_a_command_is_as_one_would_type_it() -> None:
    commands = {each["operationId"]: curl(each, "https://api.example") for each in OPERATIONS}
    group = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
    auth, body = '-H "Authorization: Bearer $TOKEN"', '-H "Content-Type: application/json"'
    assert commands["getShortProfile"] == "curl -s https://api.example/api/users/@bayko/short"
    assert commands["listMessages"] == f"curl -s {auth} https://api.example/api/messages/{group}"
    assert commands["markUnread"] == f"curl -s {auth} -X DELETE https://api.example/api/message_groups/{group}/read"
    assert commands["sendMessage"] == (
        f"""curl -s {auth} {body} -d '{{"handle": "londo", "message": "Hello Londo!"}}' https://api.example/api/messages"""
    )


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 100, "default": 20}, "integer, 1 to 100, default 20"),
        ({"type": "integer", "minimum": 0}, "integer, at least 0"),
        ({"type": ["string", "null"], "minLength": 1}, "string or null, at least 1 character"),
        ({"type": "string", "format": "uuid"}, "string, uuid"),
        ({"type": "array", "minItems": 2, "maxItems": 2}, "array, 2 items"),
        ({"type": "array", "maxItems": 9}, "array, at most 9 items"),
        ({"enum": ["asc", "desc"]}, '"asc" or "desc"'),
        ({"const": True}, "true"),
        ({"$ref": "#/components/schemas/Text"}, "string, 1 to 1024 characters"),
    ],
)
def test_a_schema_in_words(schema: Node, words: str) -> None:
    assert facts(schema) == words


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


class Reader(HTMLParser):
    """What a page links to and loads, and the text below each id; every element must be closed in order."""

    VOID = ("meta", "br", "link", "img", "input", "hr", "base", "source")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self._open: list[tuple[str, str | None]] = []
        self._texts: dict[str, list[str]] = {}
        self.feed(page)
        self.close()
        assert self._open == []

    def text_of(self, name: str) -> str:
        return " ".join("".join(self._texts[name]).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if name := names.get("id"):
            self.ids.append(name)
            self._texts[name] = []
        if tag == "a":
            self.links.append(names["href"] or "")
        if tag in ("script", "link", "iframe", "object", "embed", "base", "form") or {"src", "srcset"} & names.keys():
            self.loads.append(tag)
        self._add(" ")
        if tag not in self.VOID:
            self._open.append((tag, name))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag
        self._add(" ")

    def handle_data(self, data: str) -> None:
        self._add(data)

    def _add(self, text: str) -> None:
        for _, name in self._open:
            if name:
                self._texts[name].append(text)
