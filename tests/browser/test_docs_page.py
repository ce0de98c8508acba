"""The page at /api/docs."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import Windows
from tests.support.site import Site

pytestmark = pytest.mark.browser


def test_reader_authorizes_and_tries_a_request_out(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    anna.write("Hello Bert!", to=bert)
    page = windows.open(path="/api/docs").page
    page.get_by_role("button", name="Authorize", exact=True).click()
    dialog = page.locator(".auth-container")
    dialog.get_by_role("textbox").fill(anna.authorization.removeprefix("Bearer "))
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").click()
    operation = page.locator("#operations-Conversations-listMessageGroups")
    operation.get_by_role("button", name="/message_groups").first.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    response = operation.locator(".live-responses-table tbody .response")
    expect(response.locator(".response-col_status")).to_have_text("200")
    expect(response.locator(".response-col_description")).to_contain_text("Hello Bert!")
