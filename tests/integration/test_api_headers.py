"""The headers of every response: CORS, caching, and the id of the request."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from werkzeug.test import TestResponse

from tests.support.api import Api, run_api

FRONTEND, STAGING, BACKEND = "https://cruddur.example", "http://localhost:5173", "https://api.cruddur.example"
EXPOSED = {"etag", "feed-cursor", "idempotency-replayed", "link", "retry-after", "www-authenticate", "x-request-id"}
EXPOSED |= {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}
CORS_HEADERS = {"Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Access-Control-Allow-Headers"}

REQUEST_HEADERS = ("authorization", "content-type", "idempotency-key", "if-none-match")

plain = pytest.fixture(scope="module")(run_api)


@pytest.fixture(scope="module")
def api(plain: Api) -> Iterator[Api]:
    with plain.variant(frontend_url=f"{FRONTEND},{STAGING}", backend_url=BACKEND) as deployed:
        yield deployed


def preflight(api: Api, origin: str, *, method: str = "POST", path: str = "/api/messages") -> TestResponse:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ", ".join(REQUEST_HEADERS),
    }
    return api.app.test_client().options(path, headers=headers)


def listed(value: str) -> set[str]:
    return {part.strip().lower() for part in value.split(",")}


@pytest.mark.parametrize("origin", [FRONTEND, STAGING, BACKEND])
def test_preflight_allows_calls_of_frontend_and_backend(api: Api, origin: str) -> None:
    for method, path in (
        ("POST", "/api/messages"),
        ("GET", "/api/messages/x"),
        ("DELETE", "/api/message_groups/x/read"),
    ):
        response = preflight(api, origin, method=method, path=path)
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert listed(response.headers["Access-Control-Allow-Headers"]) == set(REQUEST_HEADERS)
        assert method.lower() in listed(response.headers["Access-Control-Allow-Methods"])
        assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("path", ["/api/nothing", "/api/messages/a/b", "/", "/api//ready"])
def test_page_learns_that_a_path_is_not_served(api: Api, path: str) -> None:
    response = preflight(api, FRONTEND, method="GET", path=path)
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (200, FRONTEND)
    response = api.app.test_client().get(path, headers={"Origin": FRONTEND})
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (404, FRONTEND)
    assert "Access-Control-Allow-Origin" not in preflight(api, "https://evil.example", path=path).headers


@pytest.mark.parametrize("origin", [FRONTEND, BACKEND.upper()])
def test_frontend_and_backend_may_read_responses_and_refusals(api: Api, origin: str) -> None:
    anna = api.sign_up()
    client = api.app.test_client()
    paths = ("/api/message_groups", "/api/nothing", "/api/messages", "/api/health-check")
    responses = [client.get(path, headers={"Origin": origin}) for path in paths]
    responses.append(client.get("/api/message_groups", headers={**anna.headers, "Origin": origin}))
    assert [response.status_code for response in responses] == [401, 404, 405, 200, 200]
    for response in responses:
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert listed(response.headers["Access-Control-Expose-Headers"]) == EXPOSED
        assert response.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", f"{FRONTEND}.evil.example", f"{FRONTEND}:8443", "https://xcruddur.example"),
        *("http://cruddur.example", "https://cruddurxexample", "*", "", f"{FRONTEND}/", "http://localhost:3000", None),
    ],
)
def test_other_origins_get_no_cors_headers(api: Api, origin: str | None) -> None:
    headers = {"Origin": origin} if origin is not None else {}
    responses = [api.app.test_client().get("/api/health-check", headers=headers)]
    responses += [preflight(api, origin)] if origin is not None else []
    for response in responses:
        assert CORS_HEADERS & set(response.headers.keys()) == set()
        assert response.headers.getlist("Vary") == ["Origin"]


def test_configured_origin_is_a_literal_and_no_pattern(plain: Api) -> None:
    with plain.variant(frontend_url="http://[::1]:3000", backend_url="http://a.b") as api:
        for origin in ("http://[::1]:3000", "http://:3000", "http://1:3000", "http://aXb"):
            response = api.app.test_client().get("/api/health-check", headers={"Origin": origin})
            assert ("Access-Control-Allow-Origin" in response.headers) == ("[" in origin)


def test_no_cache_keeps_a_response_to_a_user(api: Api) -> None:
    anna, bert = api.couple()
    sent = anna.post({"message": "Hi", "handle": bert.user.handle})
    group = sent.json["message_group_uuid"]
    responses = [sent, anna.post({}), anna.client.get("/api/unread")]
    paths = (f"/api/message_groups/{group}", "/api/unread", "/api/messages/x", "/api/x")
    responses += [anna.get(path) for path in paths]
    responses.append(anna.client.delete(f"/api/message_groups/{group}/read", headers=anna.headers))
    assert [response.status_code for response in responses] == [200, 422, 401, 200, 200, 404, 404, 200]
    assert {response.headers["Cache-Control"] for response in responses} == {"private, no-store"}
    pages = [anna.get(path) for path in ("/api/message_groups", f"/api/messages/{group}")]
    assert {page.headers["Cache-Control"] for page in pages} == {"private, no-cache"}


def test_browser_keeps_to_https_and_to_the_content_type(api: Api, plain: Api) -> None:
    for path in ("/api/health-check", "/api/nothing", "/api/unread", "/api/docs"):
        response = api.app.test_client().get(path)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert "Strict-Transport-Security" not in plain.app.test_client().get(path).headers


@pytest.mark.parametrize("request_id", ["x", "a1B2-c3._", "5ae290ed-55d1-47a0-bc6d-fe2bc2700399", "x" * 64])
def test_valid_request_id_is_kept(api: Api, request_id: str) -> None:
    response = api.app.test_client().get("/api/health-check", headers={"X-Request-Id": request_id})
    assert response.headers["X-Request-Id"] == request_id
    assert api.lines()[-1]["request_id"] == request_id


@pytest.mark.parametrize("request_id", ["", "x" * 65, "a b", "ü", "a\0b", '"}{', "<script>", "a\tb", "٣"])
def test_invalid_request_id_is_replaced(api: Api, request_id: str) -> None:
    headers = {"X-Request-Id": request_id.encode().decode("latin-1")}
    ids = [api.app.test_client().get("/api/health-check", headers=headers).headers["X-Request-Id"] for _ in range(2)]
    assert ids[0] != ids[1]
    assert [str(uuid.UUID(new)) for new in ids] == ids
    assert api.lines()[-1]["request_id"] == ids[1]


def test_refusals_have_a_request_id(api: Api) -> None:
    paths = ("/api/nothing", "/api/messages", "/api/message_groups", "/api//message_groups")
    ids = {api.app.test_client().get(path).headers["X-Request-Id"] for path in paths}
    assert len(ids) == len(paths)


def test_links_begin_with_the_backend_url(api: Api) -> None:
    anna, bert = api.couple()
    anna.write("1", to=bert)
    group = anna.write("2", to=bert)["message_group_uuid"]
    response = anna.get(f"/api/messages/{group}", limit=1)
    assert response.headers["Link"].startswith(f"<{BACKEND}/api/messages/{group}?")


def test_response_is_json_in_utf_8(api: Api) -> None:
    anna, bert = api.couple()
    sent = anna.post({"message": "schön", "handle": bert.user.handle})
    assert sent.content_type == "application/json"
    assert "schön".encode() in sent.data
