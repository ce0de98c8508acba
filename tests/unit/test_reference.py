"""The reference: /api/openapi.json for programs, and the page at /api/docs with its files."""

from __future__ import annotations

import gzip
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient

from lib.config import ROOT
from routes.docs import OWN_FILES, SWAGGER_UI_FILES
from tests.support.openapi import DOCUMENT
from tests.unit import test_app

FILES = [f"/api/docs/{file}" for file in (*OWN_FILES, *SWAGGER_UI_FILES)]

app = test_app.app
client = test_app.client


def test_openapi_json_is_the_document(client: FlaskClient) -> None:
    response = client.get("/api/openapi.json")
    assert (response.mimetype, response.json) == ("application/json", DOCUMENT)
    assert "🍵".encode() in response.data


def test_document_sends_requests_to_the_host_that_serves_it() -> None:
    assert DOCUMENT["servers"] == [{"url": "/"}]


@pytest.mark.parametrize("path", ["/api/openapi.json", "/api/docs", *FILES])
def test_client_revalidates_by_etag(client: FlaskClient, path: str) -> None:
    first = client.get(path)
    second = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, second.status_code, second.data) == (200, 304, b"")
    assert (first.headers["Cache-Control"], second.headers["ETag"]) == ("no-cache", first.headers["ETag"])
    assert client.get(path, headers={"If-None-Match": '"another"'}).data == first.data


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        *((None, None), ("gzip, deflate, br, zstd", "gzip"), ("*", "gzip"), ("gzip;q=0.5", "gzip"), ("br", None)),
        *(("gzip;q=0", None), ("gzip;q=0, *", None), ("identity, gzip;q=0.5", None), ("", None)),
    ],
)
def test_file_is_compressed_for_a_client_that_wants_it(
    client: FlaskClient, accepted: str | None, coding: str | None
) -> None:
    headers = {} if accepted is None else {"Accept-Encoding": accepted}
    for path in ("/api/openapi.json", "/api/docs", *FILES):
        response = client.get(path, headers=headers)
        plain = client.get(path)
        assert response.headers.get("Content-Encoding") == coding
        assert response.vary.as_set() == {"origin", "accept-encoding"}
        assert (gzip.decompress(response.data) if coding else response.data) == plain.data
        assert (response.headers["ETag"] == plain.headers["ETag"]) == (coding is None)
        again = client.get(path, headers={**headers, "If-None-Match": response.headers["ETag"]})
        assert (again.status_code, again.vary.as_set()) == (304, {"origin", "accept-encoding"})


def test_page_loads_its_own_files_and_runs_nothing_inline(client: FlaskClient) -> None:
    reader = Reader(client.get("/api/docs").text)
    assert sorted(f"/api/{path}" for path in reader.loads) == sorted(FILES)
    assert reader.inline == []


def test_policy_allows_this_host_alone(client: FlaskClient) -> None:
    policy = client.get("/api/docs").headers["Content-Security-Policy"]
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert directives.pop("img-src") == "'self' data:"
    assert {name for name, source in directives.items() if source == "'self'"} == {
        *("script-src", "style-src", "connect-src")
    }
    assert {name for name, source in directives.items() if source == "'none'"} == {
        *("default-src", "base-uri", "form-action", "frame-ancestors")
    }
    assert len(directives) == 7


@pytest.mark.parametrize(
    ("path", "mimetype"),
    [
        ("/api/docs", "text/html"),
        ("/api/docs/docs.js", "text/javascript"),
        ("/api/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/api/docs/swagger-ui.css", "text/css"),
        ("/api/docs/favicon-32x32.png", "image/png"),
    ],
)
def test_file_has_its_content_type(client: FlaskClient, path: str, mimetype: str) -> None:
    response = client.get(path)
    assert (response.mimetype, response.headers["X-Content-Type-Options"]) == (mimetype, "nosniff")


@pytest.mark.parametrize("file", ["docs.html", "oauth2-redirect.html", "..%2Freference.py", "../__init__.py", "%00"])
def test_other_file_is_not_found(client: FlaskClient, file: str) -> None:
    response = client.get(f"/api/docs/{file}")
    assert (response.status_code, response.json) == (404, ["not_found"])


def test_startup_loads_nothing_of_the_reference() -> None:
    code = "import app, sys; print({'yaml', 'flask_swagger_ui', 'markdown_it'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


class Reader(HTMLParser):
    """The URLs that a page loads, and the scripts, styles and handlers within it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if url := attributes.get("src") or attributes.get("href"):
            self.loads.append(url)
        elif tag in ("script", "style"):
            self.inline.append(tag)
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]
