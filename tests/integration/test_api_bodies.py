"""Request bodies over HTTP: each malformed body is refused with its code; each text arrives unchanged."""

from __future__ import annotations

import gzip
import json
from io import BytesIO
from typing import Any

import pytest

from routes.request_body import REFUSED_STATUS
from tests.support.api import Api, ok, refused, run_api

LIMIT = 16 * 1024
BLANK = (422, ["message_blank"])
INVALID = (422, ["message_invalid"])
TOO_LONG = (422, ["message_exceed_max_chars"])
BODY_INVALID = (422, ["body_invalid"])
TOO_LARGE = (413, ["body_too_large"])
NOBODY = (404, ["receiver_not_found"])
UNSUPPORTED = (415, ["content_type_unsupported"])

SCRIPTS = "Ἀχιλλεύς שלום مرحبا 你好 नमस्ते ไทย \u202eright to left\u202c"
COMBINED = "\ufeff\U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 is not \u00e9 \U0010ffff\uffff"
QUOTED = '"quoted" \\ </script> {"S": "x"} #pk :known'

api = pytest.fixture(scope="module")(run_api)


def padded(size: int) -> bytes:
    """A body of this many bytes: a valid message to an unknown handle."""
    body = b'{"message": "hello", "handle": "nobody", "padding": "%s"}'
    return body % (b"x" * (size - len(body) + 2))


@pytest.mark.parametrize(
    ("message", "refusal"),
    [("\n", BLANK), ("a\0b", INVALID), ("\ud800", INVALID), (10**4000, INVALID), ("\U0001f600" * 1025, TOO_LONG)],
)
def test_bad_message_is_refused(api: Api, message: object, refusal: tuple[int, list[str]]) -> None:
    anna, bert = api.couple()
    before = api.items()
    assert refused(anna.post({"message": message, "handle": bert.user.handle})) == refusal
    assert api.items() == before


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (" one\r\ntwo\r\n", "one\ntwo"),
        (" " + "\U0001f600" * 1024 + "\r\n", "\U0001f600" * 1024),
        *((same, same) for same in ("a\tb\n\nc", SCRIPTS, COMBINED, QUOTED)),
    ],
)
def test_valid_text_arrives_unchanged_with_lf_line_ends(api: Api, text: str, stored: str) -> None:
    anna, bert = api.couple()
    sent = anna.write(text, to=bert)
    assert sent["message"] == stored
    assert bert.messages(sent["message_group_uuid"])[0]["message"] == stored
    assert bert.inbox()[0]["message"] == stored


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        *((body, BODY_INVALID) for body in (b"", b" ", b"hello", b"null", b"7", b"NaN", b'"message"', b'["message"]')),
        *((body, BODY_INVALID) for body in (b'{"message": "hello"', b'{"message": "a\nb"}', b"\xef\xbb\xbf[]")),
        (b'{"message": "\xff", "handle": "nobody"}', BODY_INVALID),
        (b'{"message": "\xed\xa0\x80", "handle": "nobody"}', BODY_INVALID),
        ('{"message": "hello", "handle": "nobody"}'.encode("utf-16-le"), BODY_INVALID),
        (b"[" * 8000 + b"]" * 8000, BODY_INVALID),
        (b'{"a":' * 3000, BODY_INVALID),
        (b'{"message": %s}' % (b"9" * 5000), BODY_INVALID),
        (gzip.compress(b'{"message": "hello", "handle": "nobody"}', mtime=0), BODY_INVALID),
        (b"{}", (422, ["message_blank", "user_receiver_handle_blank"])),
        (b'{"message": NaN, "handle": "nobody"}', INVALID),
        (b'\xef\xbb\xbf{"message": "a byte order mark is skipped", "handle": "nobody"}', NOBODY),
        (padded(LIMIT), NOBODY),
        (padded(LIMIT + 1), TOO_LARGE),
        (padded(20 * LIMIT), TOO_LARGE),
    ],
)
def test_bad_body_is_refused(api: Api, body: bytes, refusal: tuple[int, list[str]]) -> None:
    before = api.items()
    assert refused(api.sign_up().post_bytes(body)) == refusal
    assert api.items() == before


@pytest.mark.parametrize(
    "content_type",
    [
        *(None, "", "text/plain", "text/json", "application/xml", "application/jsonp", "garbage", ";", "application/"),
        *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json, text/plain"),
    ],
)
def test_other_content_types_are_refused(api: Api, content_type: str | None) -> None:
    anna, bert = api.couple()
    before = api.items()
    body = json.dumps({"message": "hello", "handle": bert.user.handle}).encode()
    assert refused(anna.post_bytes(body, content_type=content_type)) == UNSUPPORTED
    assert api.items() == before


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=latin-1; a=b"]
)
def test_json_body_is_read_as_utf_8_whatever_its_content_type_says(api: Api, content_type: str) -> None:
    anna, bert = api.couple()
    body = json.dumps({"message": "schön", "handle": bert.user.handle}, ensure_ascii=False).encode()
    assert ok(anna.post_bytes(body, content_type=content_type))["message"] == "schön"


@pytest.mark.parametrize(("size", "refusal"), [(LIMIT, NOBODY), (LIMIT + 1, TOO_LARGE), (30 * LIMIT, TOO_LARGE)])
def test_chunked_body_has_the_same_limit(api: Api, size: int, refusal: tuple[int, list[str]]) -> None:
    environ: dict[str, Any] = {
        "wsgi.input": BytesIO(padded(size)),
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
    }
    assert refused(api.sign_up().post_bytes(b"", environ_overrides=environ)) == refusal


@pytest.mark.parametrize("length", ["", "abc", "-1", "1e3", "٣", "0", "99999999999999999999"])
def test_wrong_content_length_is_refused(api: Api, length: str) -> None:
    environ = {"CONTENT_LENGTH": length}
    response = api.sign_up().post_bytes(padded(200), environ_overrides=environ)
    assert refused(response) in (BODY_INVALID, TOO_LARGE)


def test_truncated_body_is_refused(api: Api) -> None:
    environ: dict[str, Any] = {"wsgi.input": BytesIO(b"{"), "CONTENT_LENGTH": "100"}
    assert refused(api.sign_up().post_bytes(b"", environ_overrides=environ)) == (400, ["bad_request"])


def test_refusal_of_the_server_is_a_normal_error(api: Api) -> None:
    response = api.app.test_client().get("/api/nothing", environ_overrides={REFUSED_STATUS: 408})
    assert refused(response) == (408, ["body_too_slow"])
    assert api.lines()[-1]["status"] == 408


def test_body_without_a_token_is_ignored(api: Api) -> None:
    response = api.app.test_client().post("/api/messages", data=padded(20 * LIMIT), content_type="text/plain")
    assert refused(response) == (401, ["token_missing"])
