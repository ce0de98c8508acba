"""Routing over HTTP: unknown paths, wrong methods, strange queries and headers."""

from __future__ import annotations

import random

import pytest

from tests.support.api import Api, ok, refused, run_api

api = pytest.fixture(scope="module")(run_api)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/api", "/api/", "/static/x", "/favicon.ico", "/api/message_groups/", "/api/messages/", "/API/ready"),
        *("/api/messages/a/b", "/api/users/bayko/short", "/api/users/@/short"),
        *("/api/%00", "/api/%ff", "/api/../etc/passwd", "/%2e%2e/", "/api/☃", "/" + "x" * 9000),
    ],
)
def test_unknown_path_is_not_found(api: Api, path: str) -> None:
    assert refused(api.app.test_client().get(path)) == (404, ["not_found"])


@pytest.mark.parametrize(
    ("methods", "path", "allowed"),
    [
        (["GET", "PUT", "HEAD"], "/api/messages", {"POST", "OPTIONS"}),
        (["POST"], "/api/messages/5ae290ed-55d1-47a0-bc6d-fe2bc2700399", {"GET", "HEAD", "OPTIONS"}),
        (["DELETE"], "/api/message_groups", {"GET", "HEAD", "OPTIONS"}),
        (["TRACE", "BREW"], "/api/health-check", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_response_to_a_wrong_method_lists_the_allowed_methods(
    api: Api, methods: list[str], path: str, allowed: set[str]
) -> None:
    for method in methods:
        response = api.app.test_client().open(path, method=method)
        assert response.status_code == 405
        assert set(response.headers["Allow"].split(", ")) == allowed
        assert method == "HEAD" or response.json == ["method_not_allowed"]


def test_head_is_get_without_a_body(api: Api) -> None:
    anna = api.sign_up()
    head = anna.client.head("/api/message_groups", headers=anna.headers)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == anna.get("/api/message_groups").headers["Content-Length"]


@pytest.mark.parametrize("path", ["/api/messages", "/api/message_groups", "/api/ready"])
def test_options_needs_no_token(api: Api, path: str) -> None:
    response = api.app.test_client().options(path)
    assert response.status_code == 200
    assert "OPTIONS" in response.headers["Allow"]


@pytest.mark.parametrize("path", ["/api//health-check?a=%ff", "//api/health-check", "/api/health-check//"])
def test_double_slashes_are_another_path(api: Api, path: str) -> None:
    response = api.app.test_client().get(path)
    assert refused(response) == (404, ["not_found"])
    assert "Location" not in response.headers


def test_first_of_several_query_arguments_counts(api: Api) -> None:
    anna = api.sign_up()
    get = anna.client.get
    assert ok(get("/api/message_groups?limit=1&limit=0", headers=anna.headers)) == []
    assert refused(get("/api/message_groups?limit=0&limit=1", headers=anna.headers)) == (422, ["limit_invalid"])


@pytest.mark.parametrize("query", ["%00", "limit", "=", "&&&", "limit[]=1", "x=" + "y" * 9000, "%ff=%fe", "%"])
def test_other_query_arguments_are_ignored(api: Api, query: str) -> None:
    anna = api.sign_up()
    response = anna.client.get(f"/api/message_groups?{query}", headers=anna.headers)
    assert refused(response) in ((200, []), (422, ["limit_invalid"]))
    assert response.status_code == (422 if query == "limit" else 200)


@pytest.mark.parametrize("path", ["/api/message_groups", "/api/health-check", "/nothing"])
@pytest.mark.parametrize("query", ["limit=\xff", "\x80", "a=\xe2\x98\x83"])
def test_non_ascii_query_is_a_bad_request(api: Api, path: str, query: str) -> None:
    anna = api.sign_up()
    response = anna.client.get(path, headers=anna.headers, environ_overrides={"QUERY_STRING": query})
    assert refused(response) == (400, ["bad_request"])


@pytest.mark.parametrize(
    "headers",
    [
        *({"Host": host} for host in ("a b", "", "x" * 9000, "[::1", "evil.example\0", "localhost:99999999")),
        {"X-Forwarded-For": "';--", "X-Forwarded-Host": "\0", "Origin": "\0", "Cookie": "a=b; \0=\0; =;;"},
        {"Accept": "text/html;q=x, */", "Accept-Encoding": "\0", "Accept-Language": "ü", "Content-Type": "\0"},
        {"Range": "bytes=-", "If-None-Match": "*", "If-Modified-Since": "yesterday", "Expect": "the unexpected"},
        {"Content-Length": "abc"},
        {"Transfer-Encoding": "gzip, chunked"},
    ],
)
@pytest.mark.parametrize("path", ["/api/health-check", "/api/message_groups", "/api//message_groups", "/nothing"])
def test_strange_headers_cause_no_500(api: Api, path: str, headers: dict[str, str]) -> None:
    anna = api.sign_up()
    response = anna.client.get(path, headers={**anna.headers, **headers})
    assert response.status_code in (200, 304, 400, 404)
    if response.status_code == 400:
        assert response.json == ["bad_request"]


def test_random_bytes_cause_no_500(api: Api) -> None:
    anna, random_ = api.sign_up(), random.Random(7)  # noqa: S311 - the same bytes in every run
    for _ in range(150):
        noise = random_.randbytes(random_.randrange(1, 40))
        text = noise.decode("latin-1")
        environ = {"PATH_INFO": f"/api/messages/{text}", "QUERY_STRING": f"cursor={text}&limit={text}"}
        for method in ("GET", "POST"):
            response = anna.client.open(method=method, headers=anna.headers, environ_overrides=environ, data=noise)
            assert 300 < response.status_code < 500, (method, noise)
