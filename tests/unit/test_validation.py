"""Validation without a server: the exact limits of each check, and any input at all."""

from __future__ import annotations

import contextlib
import unicodedata
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import Code, Invalid
from services.validation import (
    ToGroup,
    ToUser,
    check_created_at,
    check_idempotency_key,
    check_limit,
    check_new_message,
    check_read_position,
    check_text,
    is_uuid,
)

GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"

any_text = st.text(st.characters(categories=None))  # halves of surrogate pairs too
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda values: st.lists(values) | st.dictionaries(any_text, values),
    max_leaves=5,
)


def refusal(check: Callable[[Any], object], value: object) -> list[Code]:
    with pytest.raises(Invalid) as caught:
        check(value)
    return list(caught.value.codes)


def test_message_goes_to_a_group_or_to_a_user() -> None:
    assert check_new_message({"message": " hi ", "message_group_uuid": GROUP.upper()}) == ToGroup("hi", GROUP)
    nulls_and_unknown = {"message_group_uuid": None, "handle": None, "user_uuid": 7}
    assert check_new_message({**nulls_and_unknown, "message": "hi", "handle": " bayko\n"}) == ToUser("hi", "bayko")
    body = {**nulls_and_unknown, "message": "hi", "message_group_uuid": GROUP}
    assert check_new_message(body) == ToGroup("hi", GROUP)


@pytest.mark.parametrize("check", [check_new_message, check_read_position])
@pytest.mark.parametrize("body", [None, [], "message", 7, True, 1.5])
def test_body_is_an_object(check: Callable[[object], object], body: object) -> None:
    assert refusal(check, body) == [Code.BODY_INVALID]


@pytest.mark.parametrize(
    ("receiver", "code"),
    [
        *(({"handle": value}, Code.USER_RECEIVER_HANDLE_BLANK) for value in (None, "", " \t\n")),
        *(({"handle": value}, Code.USER_RECEIVER_HANDLE_INVALID) for value in (7, ["bert"], False)),
        ({"message_group_uuid": ""}, Code.MESSAGE_GROUP_UUID_BLANK),
        *(
            ({"message_group_uuid": value}, Code.MESSAGE_GROUP_UUID_INVALID)
            for value in ("x", " ", 0, {}, "\ud800", f"{GROUP}\n")
        ),
        ({"message_group_uuid": GROUP, "handle": "bert"}, Code.RECEIVER_AMBIGUOUS),
        ({"message_group_uuid": "", "handle": ""}, Code.RECEIVER_AMBIGUOUS),
    ],
)
def test_bad_receiver_is_refused(receiver: dict[str, object], code: Code) -> None:
    assert refusal(check_new_message, {"message": "hello", **receiver}) == [code]


def test_refusal_has_every_code() -> None:
    assert refusal(check_new_message, {}) == [Code.MESSAGE_BLANK, Code.USER_RECEIVER_HANDLE_BLANK]
    body = {"message": "x" * 1025, "message_group_uuid": GROUP, "handle": "bayko"}
    assert refusal(check_new_message, body) == [Code.MESSAGE_EXCEED_MAX_CHARS, Code.RECEIVER_AMBIGUOUS]


@pytest.mark.parametrize(
    "text", [None, "", " ", "\n\t \r\n", "\u2003\u00a0\u3000\u2028", "\u200b", "\u2066 \u2069", "\u2800\ufe0f"]
)
def test_message_is_not_blank(text: str | None) -> None:
    assert refusal(check_text, text) == [Code.MESSAGE_BLANK]


@pytest.mark.parametrize(
    "value",
    [7, 0, True, False, 1.5, float("nan"), 10**4000, [], ["hello"], {}, {"S": "hello"}]
    + [f"a{half}" for half in "\ud800\udbff\udc00\udfff"],
)
def test_message_is_text_without_lone_surrogates(value: object) -> None:
    assert refusal(check_text, value) == [Code.MESSAGE_INVALID]


def test_tab_and_newline_are_the_only_control_characters() -> None:
    controls = [chr(point) for point in range(0x110000) if unicodedata.category(chr(point)) == "Cc"]
    assert len(controls) == 65
    assert {"\t", "\n"} < set(controls)
    for control in set(controls) - {"\t", "\n"}:
        for text in (control, f"a{control}b", f"a{control}"):
            assert refusal(check_text, text) == [Code.MESSAGE_INVALID]
    for text in ("a\tb\nc", "\u2067نعم\u2069", "a\u202eb", "👩\u200d💻"):
        assert check_text(text) == text


@pytest.mark.parametrize("char", ["x", "é", "字", "\U0001f600", "\ue000", "\ud7ff"])
def test_limit_counts_code_points_after_trimming(char: str) -> None:
    assert check_text(f" \n{char * 1024}\t ") == char * 1024
    assert refusal(check_text, char * 1025) == [Code.MESSAGE_EXCEED_MAX_CHARS]


def test_line_ends_become_lf_before_they_are_counted() -> None:
    assert check_text("a\r\nb\r\n") == "a\nb"
    assert len(check_text("x\r\n" * 511 + "xx")) == 1024
    assert refusal(check_text, "x\r\n" * 512 + "xx") == [Code.MESSAGE_EXCEED_MAX_CHARS]
    assert refusal(check_text, "a\r\r\nb") == [Code.MESSAGE_INVALID]


@given(any_text)
def test_accepted_text_can_be_stored_and_is_stable(text: str) -> None:
    try:
        stored = check_text(text)
    except Invalid:
        return
    assert 1 <= len(stored) <= 1024
    assert stored == stored.strip() == check_text(stored)
    assert stored.encode().decode() == stored
    assert stored in text.replace("\r\n", "\n")


@given(any_json, any_json, any_json)
def test_any_body_is_accepted_or_invalid(message: object, group: object, handle: object) -> None:
    for body in (message, {"message": message, "message_group_uuid": group, "handle": handle}):
        with contextlib.suppress(Invalid):
            assert isinstance(check_new_message(body), ToGroup | ToUser)


def test_limit_is_from_1_to_100() -> None:
    assert [check_limit(text) for text in (None, "1", "20", "100", "007")] == [20, 1, 20, 100, 7]


@pytest.mark.parametrize("text", ["0", "101", "-1", "+1", " 1", "1 ", "1_0", "1.0", "", "٣", "²", "1\n", "9" * 5000])
def test_other_limits_are_refused(text: str) -> None:
    assert refusal(check_limit, text) == [Code.LIMIT_INVALID]


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "2026", "2026-01-02", "12:00:00", "2026-13-02T12:00:00Z", "2026-01-02T25:00:00Z", "Z", "None"),
        *("2026-01-02T12:00:00ZZ", "2026-01-02T12:00:00+99:00", "2026-01-02T12:00:00\0Z", "2026-01-02\0T12:00:00"),
        *("٢026-01-02T12:00:00Z", "2026-01-02☃12:00:00Z", f"2026-01-02T12:00:00.{'1' * 3000}Z", "9" * 3000),
        *("2026-01-02T12:00:00Z ", " 2026-01-02T12:00:00Z", "2026-01-02T12:00:00Z\n", "2026-01-02T12:00:00+00:00Z"),
        *("2026-01-02T12:30.5Z", "2026-01-02T12.5", "2026-01-02x12:00:00Z", "2026-W54-1T12:00Z", "2026-W01T12:00Z"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2026-01-02T12:00:00+01:00:00"),
    ],
)
def test_position_is_a_date_and_a_time(text: str) -> None:
    assert refusal(check_created_at, text) == [Code.CREATED_AT_INVALID]


@pytest.mark.parametrize(
    ("header", "key"),
    [
        *(("abc", "abc"), ('"abc"', "abc"), (r'"a\"b"', 'a"b'), ('a"b', 'a"b'), (r'"a\\b"', r"a\b"), ("  x\t", "x")),
        *(
            ("a, b", "a, b"),
            ("# %00 &", "# %00 &"),
            ("~" * 255, "~" * 255),
            (f'"{"y" * 255}"', "y" * 255),
            (None, None),
        ),
    ],
)
def test_key_is_a_quoted_string_or_bare_text(header: str | None, key: str | None) -> None:
    assert check_idempotency_key(header) == key


@pytest.mark.parametrize(
    "header", ["", " ", '""', '"a', 'a"' + "x" * 254, '"a"b"', '"\\a"', '"a";b=1', "é", "\x7f", "\t"]
)
def test_malformed_key_is_refused(header: str) -> None:
    assert refusal(check_idempotency_key, header) == [Code.IDEMPOTENCY_KEY_INVALID]


def test_read_position_is_a_whole_number() -> None:
    assert [check_read_position({"seq": seq}) for seq in (0, 3, 3.0, 10**30, 1e300)] == [0, 3, 3, 10**30, int(1e300)]


@pytest.mark.parametrize("seq", [None, "1", 0.5, float("nan"), float("inf"), True, False, -1, -1.0, [1]])
def test_other_read_positions_are_refused(seq: object) -> None:
    assert refusal(check_read_position, {"seq": seq}) == refusal(check_read_position, {}) == [Code.SEQ_INVALID]


@given(st.uuids())
def test_uuid_may_have_either_case(value: uuid.UUID) -> None:
    assert is_uuid(str(value))
    assert is_uuid(str(value).upper())
    assert not is_uuid(value.hex)
    assert not is_uuid(f"{{{value}}}")
    assert not is_uuid(f"{value}\n")
    assert not is_uuid(f"urn:uuid:{value}")


@pytest.mark.parametrize("text", ["", "x", GROUP[:-1], GROUP + "0", GROUP.replace("5", "g"), GROUP.replace("5", "５")])
def test_other_text_is_no_uuid(text: str) -> None:
    assert not is_uuid(text)
