"""Names and messages that try to become markup, to break the layout, or to turn it round."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import Windows
from tests.support.site import Site

pytestmark = pytest.mark.browser

MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "<a href='javascript:alert(1)'>link</a>",
    "</p></article><style>* { display: none }</style>",
    "&lt;b&gt;",
    "{{ 7 * 7 }} ${7 * 7} %s",
    "javascript:alert(1)",
]
NAME = "<b onmouseover=alert(1)>Bert</b>"
ELEMENTS = "script:not([src]), img, svg, iframe, style, b, #app [onerror], #app [onload], a[href^=javascript]"


def test_markup_in_names_and_messages_stays_text(site: Site, windows: Windows) -> None:
    anna, bert = site.sign_up("anna"), site.sign_up("bert", display_name=NAME)
    window = windows.open(anna)
    for text in MARKUP:
        bert.write(text, to=anna)
    expect(window.row(bert)).to_contain_text(MARKUP[-1])
    window.open(bert)
    expect(window.texts).to_have_text(MARKUP)
    for text in MARKUP:
        window.send(text)
    expect(window.texts).to_have_text(MARKUP * 2)
    window.page.get_by_role("link", name="New message").click()
    window.handle.fill(bert.user.handle)
    expect(window.page.get_by_role("strong")).to_have_text(NAME)
    expect(window.page.locator(ELEMENTS)).to_have_count(0)


@pytest.mark.parametrize("path", ["/#/c/<img src=x onerror=alert(1)>", "/#/@%3Cscript%3Ealert(1)", "/#/%E0%A4%A"])
def test_markup_in_address_stays_text(site: Site, windows: Windows, path: str) -> None:
    windows.expect_problem("status of 4")
    window = windows.open(site.sign_up(), path=path)
    window.expect_connected()
    expect(window.page.locator(ELEMENTS)).to_have_count(0)


def test_long_words_and_stacked_accents_stay_in_their_place(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    for text in ("w" * 1_000, "https://example.com/" + "path/" * 100, "a" + "\u0301" * 500, "line\n" * 40):
        bert.write(text, to=anna)
    window = windows.open(anna, viewport={"width": 320, "height": 600}).open(bert)
    expect(window.messages).to_have_count(4)
    widths = "element => [element.scrollWidth, element.clientWidth]"
    for element in (window.page.locator("html"), window.log):
        scrolled, visible = element.evaluate(widths)
        assert scrolled <= visible
    for box in window.messages.evaluate_all("all => all.map((one) => one.getBoundingClientRect().toJSON())"):
        assert 0 <= box["left"] < box["right"] <= 320


def test_right_to_left_texts_have_their_direction_and_override_ends_with_its_text(site: Site, windows: Windows) -> None:
    anna, bert = site.sign_up("anna"), site.sign_up("bert", display_name="دانا")
    texts = ["مرحبا، كيف الحال؟", "שלום!", "Hello!", "\u202eevil", "after"]
    for text in texts:
        bert.write(text, to=anna)
    window = windows.open(anna)
    expect(window.row(bert)).to_contain_text("after")
    window.open(bert)
    expect(window.texts).to_have_text(texts)
    directions = window.texts.evaluate_all("all => all.map((text) => getComputedStyle(text).direction)")
    assert directions == ["rtl", "rtl", "ltr", "ltr", "ltr"]
    name = window.row(bert).get_by_text("دانا")
    assert name.evaluate("name => getComputedStyle(name).direction") == "rtl"
    isolation = "all => all.map((text) => getComputedStyle(text).unicodeBidi)"
    assert {*window.texts.evaluate_all(isolation)} <= {"isolate", "plaintext"}
    window.composer.fill("مرحبا")
    assert window.composer.evaluate("text => getComputedStyle(text).direction") == "rtl"


def test_emoji_and_combining_characters_stay_as_they_were_typed(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    family = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"
    flag = "\N{REGIONAL INDICATOR SYMBOL LETTER D}\N{REGIONAL INDICATOR SYMBOL LETTER E}"
    texts = [family, flag, "\N{HEAVY BLACK HEART}\ufe0f", "e\u0301", "क्षि"]
    group = bert.write(texts[0], to=anna)["message_group_uuid"]
    window = windows.open(anna).open(bert)
    for text in texts[1:]:
        window.send(text)
    expect(window.texts).to_have_text(texts)
    expect(window.page.get_by_text("Sending…")).to_have_count(0)
    assert bert.texts(group) == texts
