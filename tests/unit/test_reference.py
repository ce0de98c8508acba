"""The contract as programs and people read it: /api/openapi.json and /api/docs."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from lib.config import ROOT
from lib.openapi import Node, curl, document, facts, operations
from services.errors import Code
from tests.unit import test_app

DOCUMENT = document()
OPERATIONS = operations()

app = test_app.app
client = test_app.client


@pytest.fixture
def page(client: FlaskClient) -> TestResponse:
    return client.get("/api/docs")


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
    assert client.get(path, headers={"If-None-Match": '"another"', "If-Match": '"another"'}).data == first.data


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
