"""The page for people who use a keyboard, a screen reader, a narrow window, or other colors."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.support.browser import Window, Windows
from tests.support.site import Site
from tools.local_stack.cognito import PASSWORD

pytestmark = pytest.mark.browser

HAS_VISIBLE_FOCUS = """
() => {
  const style = getComputedStyle(document.activeElement);
  if (document.activeElement === document.body) return true; // between the last element and the first
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
}
"""
MOVING = """
() => [...document.querySelectorAll("*")].filter((element) => {
  const style = getComputedStyle(element);
  const durations = `${style.transitionDuration}, ${style.animationDuration}`.split(", ");
  return style.scrollBehavior === "smooth" || durations.some((duration) => parseFloat(duration) > 0.01);
}).map((element) => element.outerHTML.slice(0, 100))
"""


def test_sign_in_is_accessible_with_and_without_an_error(windows: Windows) -> None:
    windows.expect_problem("status of 400")
    window = windows.open()
    expect(window.page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    window.expect_accessible()
    window.page.get_by_label("E-mail or handle").fill("nobody")
    window.page.get_by_label("Password").fill("Wrong-1234")
    window.page.get_by_label("Password").press("Enter")
    expect(window.page.get_by_role("alert")).not_to_be_empty()
    window.expect_accessible()


def test_inbox_is_accessible_empty_and_with_badges(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    window = windows.open(anna)
    expect(window.inbox).to_contain_text("No conversations yet.")
    window.expect_connected()
    window.expect_accessible()
    bert.write("A message that is longer than the row " * 5, to=anna)
    site.sign_up("clara", display_name="A name that is longer than the row " * 3).write("Hi", to=anna)
    expect(window.rows).to_have_count(2)
    window.expect_accessible()


def test_conversation_is_accessible_with_its_marks_and_with_an_error(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 422")
    anna, bert = site.couple()
    site.fill((anna, bert), [f"message {n}" for n in range(60)], unread=3)
    window = windows.open(anna).open(bert)
    berts = windows.open(bert).open(anna)
    window.send("seen")
    expect(window.log.get_by_text("Seen", exact=True)).to_be_visible()
    window.page.route("**/api/messages", lambda route: route.fulfill(status=422, json=["message_invalid"]))
    window.send("refused")
    expect(window.page.get_by_role("button", name="Try again")).to_be_visible()
    window.composer.fill("x" * 2_000)
    berts.composer.press_sequentially("x")
    window.expect_accessible()


def test_menu_of_a_conversation_is_accessible_and_closes_when_it_loses_the_focus(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    bert.write("one", to=anna)
    window = windows.open(anna).open(bert)
    expect(window.composer).to_be_focused()
    more = window.page.get_by_text("More", exact=True)
    report = window.page.get_by_role("button", name="Report…")
    more.press("Enter")
    expect(report).to_be_visible()
    window.expect_accessible()
    tab_to(window, report)
    window.page.keyboard.press("Tab")
    expect(report).to_be_hidden()
    more.press("Enter")
    tab_to(window, report)
    window.page.keyboard.press("Escape")
    expect(report).to_be_hidden()
    expect(more).to_be_focused()


def test_new_message_is_accessible_with_profile_and_with_an_error(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 404")
    anna, bert = site.couple()
    window = windows.open(anna, path="/#/new")
    window.handle.fill(bert.user.handle)
    expect(window.composer).to_be_visible()
    window.expect_accessible()
    window.handle.fill("nobody-at-all")
    expect(window.page.get_by_text("There is no such person.")).to_be_visible()
    window.expect_accessible()


def test_problems_are_accessible(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 4")
    windows.expect_problem("net::ERR_")
    windows.expect_problem("Failed to fetch")  # the page writes it to the console, too
    anna = site.sign_up()
    window = windows.open(anna, path="/#/c/00000000-0000-4000-8000-000000000000")
    expect(window.page.get_by_role("alert")).to_contain_text("There is no such conversation.")
    window.expect_accessible()
    window.page.route("**/api/client-config", lambda route: route.abort())
    window.page.reload()
    expect(window.page.get_by_role("alert")).to_contain_text("The server is not available.")
    window.expect_accessible()


def tab_to(window: Window, target: Locator) -> None:
    """Press Tab until the target has the focus, which must be visible all the way."""
    is_focused = "element => element === document.activeElement"
    for _ in range(30):
        window.page.keyboard.press("Tab")
        assert window.page.evaluate(HAS_VISIBLE_FOCUS)
        if target.evaluate(is_focused):
            return
    raise AssertionError(f"Tab does not lead to {target}")


def test_keyboard_alone_leads_from_sign_in_to_a_sent_message(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    clara = site.sign_up("clara")
    clara.write("I am Clara", to=anna)
    window = windows.open()
    keyboard = window.page.keyboard
    expect(window.page.get_by_label("E-mail or handle")).to_be_focused()
    keyboard.type(anna.user.handle)
    tab_to(window, window.page.get_by_label("Password"))
    keyboard.type(PASSWORD)
    keyboard.press("Enter")
    expect(window.row(clara)).to_be_visible()
    tab_to(window, window.page.get_by_role("link", name="New message"))
    keyboard.press("Enter")
    expect(window.handle).to_be_focused()
    keyboard.type(bert.user.handle)
    expect(window.composer).to_be_visible()
    keyboard.press("Enter")
    expect(window.composer).to_be_focused()
    keyboard.type("Hello Bert")
    keyboard.press("Shift+Enter")
    keyboard.type("again")
    keyboard.press("Enter")
    expect(window.page.get_by_role("heading", name="Bert")).to_be_visible()
    expect(window.texts).to_have_text(["Hello Bert\nagain"], use_inner_text=True)
    expect(window.composer).to_be_focused()
    window.page.keyboard.press("Tab")
    tab_to(window, window.row(clara))
    keyboard.press("Enter")
    expect(window.texts).to_have_text(["I am Clara"])
    expect(window.composer).to_be_focused()
    keyboard.type("Hello Clara")
    keyboard.press("Enter")
    expect(window.texts).to_have_text(["I am Clara", "Hello Clara"])


def test_screen_reader_hears_each_arrival_once_and_who_wrote_it(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    bert.write("one", to=anna)
    window = windows.open(anna).open(bert)
    expect(window.messages).to_contain_text(["Bert:one"])
    bert.write("two", to=anna)
    expect(window.page.get_by_role("status").filter(has_text="Bert: two")).to_have_count(1)
    assert window.log.get_attribute("aria-live") == "off"  # older messages are not read out


def test_nothing_moves_for_people_who_want_less_motion(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    bert.write("one", to=anna)
    window = windows.open(anna, reduced_motion="reduce").open(bert)
    expect(window.texts).to_have_text(["one"])
    bert.write("two", to=anna)
    expect(window.texts).to_have_text(["one", "two"])
    assert window.page.evaluate(MOVING) == []
    assert window.page.evaluate("document.getAnimations().length") == 0
