"""Addresses of the page: each leads to its place, also after a reload and for somebody who must sign in first."""

from __future__ import annotations

import uuid

import pytest
from playwright.sync_api import expect

from tests.support.browser import Windows
from tests.support.site import Site, stranger

pytestmark = pytest.mark.browser


def test_address_of_conversation_survives_sign_in_and_reload(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    group = bert.write("one", to=anna)["message_group_uuid"]
    window = windows.open(anna, path=f"/#/c/{group}")
    expect(window.texts).to_have_text(["one"])
    expect(window.inbox.get_by_label("unread")).to_have_count(0)
    window.page.reload()
    expect(window.texts).to_have_text(["one"])
    expect(window.row(bert)).to_have_attribute("aria-current", "page")


def test_back_and_forward_lead_through_conversations(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    clara = site.sign_up("clara")
    bert.write("I am Bert", to=anna)
    clara.write("I am Clara", to=anna)
    window = windows.open(anna).open(bert).open(clara)
    expect(window.texts).to_have_text(["I am Clara"])
    window.page.go_back()
    expect(window.texts).to_have_text(["I am Bert"])
    window.page.go_back()
    expect(window.log).to_be_hidden()
    window.page.go_forward()
    expect(window.texts).to_have_text(["I am Bert"])


def test_address_of_handle_leads_to_new_message_or_to_conversation(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    clara = site.sign_up("clara")
    bert.write("one", to=anna)
    window = windows.open(anna, path=f"/#/@{clara.user.handle}")
    expect(window.page.get_by_role("strong")).to_have_text("Clara")
    window.send("Hello Clara")
    expect(window.page.get_by_role("heading", name="Clara")).to_be_visible()
    window.page.goto(f"{site.url}/#/@{bert.user.handle}")
    expect(window.texts).to_have_text(["one"])


def test_address_of_handle_leads_to_a_conversation_that_the_inbox_has_not_loaded(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    site.fill((anna, bert), ["one"], unread=0, days=9)
    for n in range(100):
        site.fill((anna, stranger(n)), [f"I am number {n}"], unread=0)
    window = windows.open(anna, path=f"/#/@{bert.user.handle}")
    expect(window.texts).to_have_text(["one"])
    expect(window.page.get_by_role("heading", name="Bert")).to_be_visible()
    expect(window.row(bert)).to_have_count(0)


def test_person_without_conversation_and_without_live_updates_can_write(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 503")
    anna, bert = site.couple()
    window = windows.open()
    window.page.route("**/api/events", lambda route: route.fulfill(status=503, json=["live_updates_unavailable"]))
    window.sign_in(anna)
    window.page.get_by_role("link", name="New message").click()
    window.handle.fill(bert.user.handle)
    window.send("Hello Bert")
    expect(window.page.get_by_role("heading", name="Bert")).to_be_visible()
    expect(window.texts).to_have_text(["Hello Bert"])


@pytest.mark.parametrize("whose", ["nobody's", "others'"])
def test_page_shows_no_conversation_of_nobody_or_of_others(site: Site, windows: Windows, whose: str) -> None:
    windows.expect_problem("status of 4")
    anna, bert = site.couple()
    group = str(uuid.uuid4())
    if whose == "others'":
        group = bert.write("secret", to=site.sign_up("clara"))["message_group_uuid"]
    window = windows.open(anna, path=f"/#/c/{group}")
    expect(window.page.get_by_role("alert")).to_contain_text("There is no such conversation.")
    expect(window.messages).to_have_count(0)


@pytest.mark.parametrize("path", ["/#/nonsense", "/#/c/nonsense"])
def test_page_says_that_an_address_leads_nowhere(site: Site, windows: Windows, path: str) -> None:
    anna, bert = site.couple()
    bert.write("one", to=anna)
    window = windows.open(anna, path=path)
    expect(window.page.get_by_role("main")).to_have_text("There is no such page.")
    expect(window.row(bert)).to_be_visible()


def test_next_person_of_a_window_sees_nothing_of_the_one_before(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    bert.write("for Anna alone", to=anna)
    window = windows.open(anna).open(bert)
    window.composer.fill("a draft of Anna")
    window.page.get_by_role("button", name="Sign out").click()
    window.sign_in(site.sign_up("clara"))
    expect(window.inbox).to_contain_text("No conversations yet.")
    expect(window.page.get_by_text("for Anna alone")).to_have_count(0)
    assert "draft of Anna" not in window.page.evaluate("JSON.stringify(sessionStorage)")
