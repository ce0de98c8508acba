"""Long conversations: the newest messages open at once, older ones load without a jump."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.support.browser import Windows
from tests.support.clocks import time_limit
from tests.support.site import Site

pytestmark = pytest.mark.browser

MAX_SHOWN = 600  # of conversation-view.js
PAGES = "**/api/messages/*?*"
# The number in the first message that is fully in view.
FIRST_IN_VIEW = """
log => {
  const top = log.getBoundingClientRect().top;
  const texts = [...log.querySelectorAll("article p")];
  return Number(texts.find((text) => text.getBoundingClientRect().top >= top).textContent.split(" ")[1]);
}
"""


def numbered(count: int) -> list[str]:
    return [f"message {n} {'and many words more ' * (n % 7)}".strip() for n in range(1, count + 1)]


def top_of(element: Locator) -> float:
    box = element.bounding_box()
    assert box
    return box["y"]


def hold_next(page: Page) -> list[Route]:
    """The next request for messages, once it is there; it waits until it is continued."""
    held: list[Route] = []
    page.route(PAGES, lambda route: held.append(route), times=1)
    return held


def test_5000_messages_open_at_once_and_jump_leads_to_first_unread(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    texts = numbered(5_000)
    site.fill((anna, bert), texts, unread=1_050)
    window = windows.open(anna)
    expect(window.inbox.get_by_label("1050 unread")).to_be_visible()
    with time_limit(5):
        window.open(bert)
        expect(window.texts.last).to_have_text(texts[-1])
        expect(window.texts.last).to_be_in_viewport()
    assert window.messages.count() < 200

    jump = window.page.get_by_role("button", name="First unread")
    jump.click()
    first = window.messages.filter(has_text="message 3951 ").first
    line = window.log.get_by_text("New messages", exact=True)
    expect(first).to_be_in_viewport()
    expect(line).to_be_in_viewport()
    assert 0 < top_of(first) - top_of(line) < 100
    expect(jump).to_be_hidden()
    assert window.messages.count() <= MAX_SHOWN
    window.log.press("End")
    expect(window.texts.last).to_have_text(texts[-1])
    expect(window.texts.last).to_be_in_viewport()
    expect(jump).to_be_hidden()


def test_view_stays_while_older_messages_and_new_ones_arrive(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    texts = numbered(400)
    site.fill((anna, bert), texts, unread=0, days=3)
    window = windows.open(anna).open(bert)
    expect(window.texts.last).to_be_in_viewport()
    loaded = window.messages.count()
    while loaded < 400:
        held = hold_next(window.page)
        with window.page.expect_request(PAGES):
            window.log.evaluate("log => log.scrollTo(0, 50)")
        anchor = window.messages.filter(has_text=f"message {400 - loaded + 3} ").first
        expect(anchor).to_be_in_viewport()
        top = top_of(anchor)
        held[0].continue_()
        expect(window.messages).not_to_have_count(loaded)
        assert abs(top_of(anchor) - top) <= 1
        loaded = window.messages.count()
    assert window.texts.all_inner_texts() == texts
    days = window.log.get_by_role("heading").all_inner_texts()
    assert (len(days), days[-2:]) == (4, ["Yesterday", "Today"])
    top = top_of(anchor)
    bert.write("one more", to=anna)
    expect(window.texts.last).to_have_text("one more")
    assert abs(top_of(anchor) - top) <= 1
    window.page.get_by_role("button", name="Newest").click()
    expect(window.texts.last).to_be_in_viewport()


def test_wheel_moves_steadily_through_older_messages_and_back(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    texts = numbered(MAX_SHOWN + 200)
    site.fill((anna, bert), texts, unread=0)
    window = windows.open(anna).open(bert)
    expect(window.texts.last).to_be_in_viewport()
    newest = window.log.evaluate(FIRST_IN_VIEW)
    window.log.hover()
    for sign, goal in ((-1, 1), (1, newest)):
        numbers = [window.log.evaluate(FIRST_IN_VIEW)]
        while numbers[-1] != goal and len(numbers) < 500:
            window.page.mouse.wheel(0, sign * 400)
            numbers.append(window.log.evaluate(FIRST_IN_VIEW))
            assert 0 <= sign * (numbers[-1] - numbers[-2]) < 40
        assert numbers[-1] == goal
        assert window.messages.count() <= MAX_SHOWN
    expect(window.texts.last).to_have_text(texts[-1])
    expect(window.page.get_by_role("button", name="Newest")).to_be_hidden()
