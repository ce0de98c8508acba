"""The rules for handles and display names: what cannot be seen, and what looks like something else, is refused."""

from __future__ import annotations

import unicodedata
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.users.names import display_name, handle_key, shows_nothing

INVISIBLE = "\u034f\u061c\u115f\u1160\u17b4\u180e\u200b\u200c\u200d\u200e\u2060\u2066\u2800\u3164\ufe0f\ufeff\uffa0"
INVISIBLE += "\ufff9\ufffb\uffff\U00013430\U00013441\U00016fe4\U0001d159\U000e0100"
FULLWIDTH_BAYKO = "".join(chr(ord(char) + 0xFEE0) for char in "Bayko")
HANDLES = ["bayko", "a", "7", "anna.ann-2_b", "änna", "анна", "أحمد", "नमस्ते", "สมชาย", "山田", "たろう", "김철수"]

texts = st.text(st.characters(), max_size=12)


@pytest.mark.parametrize("handle", HANDLES)
def test_handle_has_letters_and_digits_of_one_script(handle: str) -> None:
    assert handle_key(handle) == handle


@pytest.mark.parametrize("handle", ["BAYKO", "Bayko", FULLWIDTH_BAYKO])
def test_case_and_width_make_no_other_handle(handle: str) -> None:
    assert handle_key(handle) == "bayko"


@pytest.mark.parametrize(
    "handle",
    [
        *("", " ", "anna ", " anna", "anna\n", "an\x1b[8mna", "\u202eanna", "anna\u0085", "an\0na", "\ud800"),
        *(".", "..", "-", "_anna", "anna.", "a..b", "a/b", "a@b", "@anna", "a%2fb", "anna!", "anna🐻", "anna❤️"),
        *(
            "anna ann",
            "b\u0430yko",
            "анна-ann",
            "\u0301anna",
            "x\u0302anna",
            "山田たろう",
            "ʰanna",
            "𝐛ayko",
            "ﬁna",
            "²",
        ),
        *("x" * 256, "ᛒᚨ", "a·b", "l·l", "٣۳", "bayko\U000e0061", "𝔟"),
    ],
)
def test_other_text_is_no_handle(handle: str) -> None:
    assert handle_key(handle) is None


@pytest.mark.parametrize("char", INVISIBLE)
def test_invisible_character_is_no_part_of_a_name(char: str) -> None:
    assert handle_key(char) is handle_key(f"bayko{char}") is handle_key(f"b{char}ayko") is display_name(char) is None
    assert shows_nothing(char)


def test_uuid_is_no_handle() -> None:
    uuid = str(uuid4())
    for text in (uuid, uuid.upper(), uuid.replace("-", ""), "".join(chr(ord(char) + 0xFEE0) for char in uuid)):
        assert handle_key(text) is None


@given(st.one_of(texts, st.from_regex(r"[A-Za-zäéÄÉЖжα0-9]{1,6}([._-][A-Za-zäé]{1,4}){0,2}", fullmatch=True)))
@example("ÄNNA")
@example("Σ")
def test_every_spelling_of_a_handle_has_one_key(handle: str) -> None:
    key = handle_key(handle)
    if key is not None:
        spellings = (key, handle.lower(), *(unicodedata.normalize(form, handle) for form in ("NFC", "NFD")))
        assert {handle_key(spelling) for spelling in spellings} == {key}
        assert key.isprintable()
        assert not set(key) & set("/@ ?#%")


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        *(("Anna Ann", "Anna Ann"), ("  Anna \u3000 Ann ", "Anna Ann"), ("é" * 255, "é" * 255), ("❤️ Anna", "❤ Anna")),
        *(("نعم", "نعم"), ("Anna 🐻 (she/her)", "Anna 🐻 (she/her)"), ("O’Neil", "O’Neil"), ("Ａnna", "Anna")),
        *(("👩🏽\u200d🚀 Anna", "👩🏽🚀 Anna"), ("🏴\U000e0067\U000e0062\U000e007f Anna", "🏴 Anna")),
    ],
)
def test_display_name_is_stored_in_one_form(name: str, stored: str) -> None:
    assert display_name(name) == stored
    assert display_name(stored) == stored


@pytest.mark.parametrize(
    "name",
    [
        *("", "  ", "\u2800 \u2800", "an\x1b[8mna", "a\nb", "a\tb", "a\x7fb", "a\x9bb", "a\u2028b", "é" * 256),
        *("an\u200dna", "🐻an\u200dna", "an\U000e0067na", "\u200d🐻"),
        *(
            "\ufdfa" * 20,
            "\ud800",
            "a\0b",
            *(f"a{chr(code)}b" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
        ),
    ],
)
def test_display_name_without_one_visible_line_is_refused(name: str) -> None:
    assert display_name(name) is None


@given(texts)
def test_display_name_shows_something_and_controls_no_terminal(text: str) -> None:
    name = display_name(text)
    assert name is None or (name.strip() == name and not shows_nothing(name) and len(name) <= 255)
    assert name is None or not {unicodedata.category(char) for char in name} & {"Cc", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize("text", ["a", ".", "\u0301", "🐻", "\u200b.", "\u2066a\u2069"])
def test_text_with_a_visible_character_shows_something(text: str) -> None:
    assert not shows_nothing(text)
