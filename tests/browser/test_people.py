"""Names of today, blocks, limits and reports: what two people see of them on the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import Windows
from tests.support.site import Site

pytestmark = pytest.mark.browser


def test_lists_and_heading_show_the_names_of_today(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    group = site.fill((anna, bert), ["one", "two"], unread=1)
    site.execute("UPDATE users SET display_name = 'Robert' WHERE uuid = %s", bert.user.uuid)
    window = windows.open(anna)
    expect(window.rows).to_contain_text(["Robert"])
    window.page.goto(f"{site.url}/#/c/{group}")
    expect(window.page.get_by_role("heading", name="Robert")).to_be_visible()
    expect(window.messages.last).to_contain_text("Robert:two")
    expect(window.page.get_by_text("Bert", exact=True)).to_have_count(0)


def test_conversation_with_a_deleted_person_says_so_and_takes_no_message(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    site.fill((anna, bert), ["one", "two"], unread=1)
    site.execute("DELETE FROM users WHERE uuid = %s", bert.user.uuid)
    window = windows.open(anna)
    expect(window.row(bert)).to_contain_text("Bert (deleted)")
    window.open(bert)
    expect(window.page.get_by_role("heading", name="Bert (deleted)")).to_be_visible()
    expect(window.messages.last).to_contain_text("Bert (deleted):two")
    expect(window.page.get_by_text("This account was deleted. You cannot write to it any more.")).to_be_visible()
    expect(window.composer).to_be_hidden()
    window.expect_accessible()
