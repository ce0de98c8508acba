"""Sign-in, sign-out, and what stays after a reload."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.browser import Windows
from tests.support.site import DEMO_HANDLES, Site
from tools.local_stack.cognito import PASSWORD

pytestmark = pytest.mark.browser


def test_wrong_password_is_refused_in_words_and_right_one_signs_in(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 400")
    anna = site.sign_up()
    window = windows.open()
    window.page.get_by_label("E-mail or handle").fill(anna.email)
    window.page.get_by_label("Password").fill("Wrong-1234")
    window.page.get_by_role("button", name="Sign in", exact=True).click()
    expect(window.page.get_by_role("alert")).to_have_text("Incorrect username or password.")
    window.page.get_by_label("Password").fill(PASSWORD)
    window.page.get_by_label("Password").press("Enter")
    expect(window.inbox).to_contain_text("No conversations yet.")


@pytest.mark.parametrize(
    ("code", "words"),
    [("handle_taken", "Another person has the handle of this account."), ("user_not_found", "cannot use this account")],
)
def test_account_without_a_user_is_refused_in_words(windows: Windows, code: str, words: str) -> None:
    windows.expect_problem("status of 403")
    window = windows.open()
    window.page.route("**/api/message_groups*", lambda route: route.fulfill(status=403, json=[code]))
    window.page.get_by_role("button", name=f"Sign in as {DEMO_HANDLES[0]}").click()
    expect(window.page.get_by_role("alert")).to_contain_text(words)


def test_seeded_user_signs_in_by_one_click(windows: Windows) -> None:
    window = windows.open()
    window.page.get_by_role("button", name=f"Sign in as {DEMO_HANDLES[0]}").click()
    expect(window.inbox).to_be_visible()


def test_reload_keeps_session_and_sign_out_ends_it(site: Site, windows: Windows) -> None:
    window = windows.open(site.sign_up())
    window.page.reload()
    expect(window.inbox).to_be_visible()
    window.page.get_by_role("button", name="Sign out").click()
    expect(window.page.get_by_label("Password")).to_be_visible()
    assert window.page.evaluate("sessionStorage.length") == 0
    window.page.reload()
    expect(window.page.get_by_label("Password")).to_be_visible()
