"""What clients may send, judged without a server: the exact borders of each check, and any input at all."""

from __future__ import annotations

import contextlib
import unicodedata
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import Code, Invalid
from services.validation import ToGroup, ToUser, check_limit, check_new_message, check_text, is_uuid

GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"

any_text = st.text(st.characters(categories=None))  # halves of surrogate pairs too
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda each: st.lists(each) | st.dictionaries(any_text, each),
    max_leaves=5,
)


def codes(body: object) -> list[Code]:
    with pytest.raises(Invalid) as caught:
        check_new_message(body)
    return list(caught.value.codes)


def refuses(text: object) -> Code:
    with pytest.raises(Invalid) as caught:
        check_text(text)
    return caught.value.codes[0]


def test_a_message_goes_to_a_group_or_to_a_user() -> None:
    assert check_new_message({"message": " hi ", "message_group_uuid": GROUP.upper()}) == ToGroup("hi", GROUP)
    assert check_new_message({"message": "hi", "handle": " bayko\n"}) == ToUser("hi", "bayko")


def test_fields_that_nobody_knows_are_ignored() -> None:
    assert check_new_message({"message": "hi", "handle": "bayko", "user_uuid": 7}) == ToUser("hi", "bayko")


@pytest.mark.parametrize("body", [None, [], "message", 7, True, 1.5])
def test_a_body_is_an_object(body: object) -> None:
    assert codes(body) == [Code.BODY_INVALID]


def test_all_that_is_wrong_is_told() -> None:
    assert codes({}) == [Code.MESSAGE_BLANK, Code.USER_RECEIVER_HANDLE_BLANK]
    assert codes({"message": 7, "message_group_uuid": GROUP, "handle": "bayko"}) == [
        Code.MESSAGE_INVALID,
        Code.RECEIVER_AMBIGUOUS,
    ]
    assert codes({"message": "x" * 1025, "message_group_uuid": ""}) == [
        Code.MESSAGE_EXCEED_MAX_CHARS,
        Code.MESSAGE_GROUP_UUID_BLANK,
    ]


def test_only_tab_and_newline_are_taken_of_the_control_characters() -> None:
    controls = [chr(point) for point in range(0x110000) if unicodedata.category(chr(point)) == "Cc"]
    assert len(controls) == 65
    assert [each for each in controls if each in "\t\n"] == ["\t", "\n"]
    for each in set(controls) - {"\t", "\n"}:
        assert refuses(f"a{each}b") is refuses(each) is refuses(f"a{each}") is Code.MESSAGE_INVALID
    assert check_text("a\tb\nc") == "a\tb\nc"


def test_half_a_surrogate_pair_is_no_text() -> None:
    for half in "\ud800\udbff\udc00\udfff":
        assert refuses(f"a{half}") is Code.MESSAGE_INVALID


@pytest.mark.parametrize("char", ["x", "é", "字", "\U0001f600", "\ue000", "\ud7ff", "\ufeff"])
def test_the_limit_counts_code_points_after_trimming(char: str) -> None:
    assert check_text(f" \n{char * 1024}\t ") == char * 1024
    assert refuses(char * 1025) is Code.MESSAGE_EXCEED_MAX_CHARS


def test_line_ends_become_lf_before_they_are_counted() -> None:
    assert check_text("a\r\nb\r\n") == "a\nb"
    assert len(check_text("x\r\n" * 511 + "xx")) == 1024
    assert refuses("a\rb") is refuses("a\r\r\nb") is Code.MESSAGE_INVALID


@given(any_text)
def test_a_text_that_is_taken_can_be_stored_and_is_stable(text: str) -> None:
    try:
        taken = check_text(text)
    except Invalid:
        return
    assert 1 <= len(taken) <= 1024
    assert taken == taken.strip() == check_text(taken)
    assert taken.encode().decode() == taken
    assert taken in text.replace("\r\n", "\n")


@given(any_json, any_json, any_json)
def test_no_body_at_all_breaks_the_checks(message: object, group: object, handle: object) -> None:
    for body in (message, {"message": message, "message_group_uuid": group, "handle": handle}):
        with contextlib.suppress(Invalid):
            assert isinstance(check_new_message(body), ToGroup | ToUser)


def test_a_limit_is_from_1_to_100() -> None:
    assert [check_limit(text) for text in (None, "1", "20", "100", "007")] == [20, 1, 20, 100, 7]


@pytest.mark.parametrize("text", ["0", "101", "-1", "+1", " 1", "1 ", "1_0", "1.0", "", "٣", "²", "1\n", "9" * 5000])
def test_another_limit_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_limit(text)
    assert caught.value.codes == (Code.LIMIT_INVALID,)


@given(st.uuids())
def test_a_uuid_is_one_in_either_case(value: uuid.UUID) -> None:
    assert is_uuid(str(value))
    assert is_uuid(str(value).upper())
    assert not is_uuid(value.hex)
    assert not is_uuid(f"{{{value}}}")
    assert not is_uuid(f"{value}\n")
    assert not is_uuid(f"urn:uuid:{value}")


@pytest.mark.parametrize("text", ["", "x", GROUP[:-1], GROUP + "0", GROUP.replace("5", "g"), GROUP.replace("5", "５")])
def test_what_looks_like_a_uuid_is_none(text: str) -> None:
    assert not is_uuid(text)
