"""The page's files through the real server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPMessage

import pytest

from lib.config import ROOT
from tests.support.api_server import ApiServer

FILES = {"/": "index.html", **{f"/web/{path.name}": path.name for path in (ROOT / "web").iterdir()}}
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("web") / "log", WEB_CLIENT="on") as server:
        yield server


def request(server: ApiServer, method: str, path: str, **headers: str) -> tuple[int, HTTPMessage, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers, body


@pytest.mark.parametrize("path", FILES)
def test_file_is_served_with_its_type(server: ApiServer, path: str) -> None:
    status, headers, body = request(server, "GET", path)
    assert (status, body) == (200, (ROOT / "web" / FILES[path]).read_bytes())
    assert headers.get_content_type() == TYPES[FILES[path].rpartition(".")[2]]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/web/main.js"])
def test_browser_asks_again_and_gets_unchanged_file_only_once(server: ApiServer, path: str) -> None:
    _, headers, _ = request(server, "GET", path)
    assert headers["Cache-Control"] == "no-cache"
    status, again, body = request(server, "GET", path, **{"If-None-Match": headers["ETag"]})
    assert (status, again["ETag"], body) == (304, headers["ETag"], b"")


@pytest.mark.parametrize("path", ["/", "/web/main.js"])
def test_head_has_the_headers_alone(server: ApiServer, path: str) -> None:
    status, headers, body = request(server, "HEAD", path)
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str((ROOT / "web" / FILES[path]).stat().st_size)


@pytest.mark.parametrize(
    "path",
    [
        *("/web/../app.py", "/web/%2e%2e/app.py", "/web/..%2fapp.py", "/web/..%5capp.py", "/web//etc/passwd"),
        *("/web/%2fetc/passwd", "/web/x/../../app.py", "/web/", "/web/.", "/web/main.js%00", "/web"),
    ],
)
def test_no_other_file_is_served(server: ApiServer, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:  # a path as it stands
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        response = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert response.split()[1] == b"404"
    assert response.endswith(b'["not_found"]\n')


def test_other_methods_are_not_allowed(server: ApiServer) -> None:
    for path in ("/", "/web/main.js"):
        status, headers, _ = request(server, "POST", path)
        assert (status, {*headers["Allow"].split(", ")}) == (405, {"GET", "HEAD", "OPTIONS"})


def test_page_is_not_served_by_default(tmp_path_factory: pytest.TempPathFactory) -> None:
    with ApiServer(tmp_path_factory.mktemp("off") / "log") as server:
        assert [request(server, "GET", path)[0] for path in ("/", "/web/main.js")] == [404, 404]
        assert request(server, "GET", "/api/client-config")[0] == 200
