"""Names of today, blocks, limits and reports: what two people see of them on the page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Route, expect

from tests.support.browser import Windows
from tests.support.site import Site

pytestmark = pytest.mark.browser

SENDING = "**/api/messages"


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


def test_messages_that_are_sent_too_fast_wait_and_go_out_in_order(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 429")
    anna, bert = site.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    window = windows.open(anna).open(bert)
    requests: list[Route] = []

    def limit(route: Route) -> None:
        requests.append(route)
        if len(requests) > 1:
            route.continue_()
        else:
            route.fulfill(status=429, json=["rate_limited"], headers={"Retry-After": "3"})

    window.page.route(SENDING, limit)
    window.send("two")
    waiting = "You are sending too fast. The page waits for 3 seconds and then tries again."
    expect(window.messages.last).to_contain_text(waiting)
    window.send("three")
    expect(window.page.get_by_text(waiting)).to_have_count(2)
    assert len(requests) == 1  # the second message waits, too
    expect(window.page.get_by_text(waiting)).to_have_count(0)
    expect(window.texts).to_have_text(["one", "two", "three"])
    expect(window.page.get_by_text("Sending…")).to_have_count(0)
    assert bert.texts(group) == ["one", "two", "three"]


def test_message_above_a_daily_limit_is_kept_and_others_go_out(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 429")
    anna, bert = site.couple()
    clara = site.sign_up("clara")
    anna.write("one", to=bert)
    window = windows.open(anna, path=f"/#/@{clara.user.handle}")

    def limit_first_messages(route: Route) -> None:
        if "message_group_uuid" in (route.request.post_data or ""):
            route.continue_()
        else:
            route.fulfill(status=429, json=["rate_limited"], headers={"Retry-After": str(3 * 86_400)})

    window.page.route(SENDING, limit_first_messages)
    window.send("Hello Clara")
    refused = window.page.get_by_role("article").filter(has_text="Hello Clara")
    until = re.compile(r"You are sending too fast\. You can send this message at \d\d:\d\d on \d+ \w+\.")
    expect(refused.get_by_role("alert")).to_contain_text(until)
    window.expect_accessible()
    window.page.set_viewport_size({"width": 1000, "height": 700})
    window.open(bert).send("two")
    expect(window.texts).to_have_text(["one", "two"])
    expect(window.page.get_by_text("Sending…")).to_have_count(0)
    window.page.unroute(SENDING)
    window.page.goto(f"{site.url}/#/new")
    window.page.reload()
    expect(refused.get_by_role("alert")).to_contain_text(until)
    refused.get_by_role("button", name="Try again").click()
    expect(window.row(clara)).to_contain_text("Hello Clara")


def test_limited_look_up_says_how_long_it_waits_and_tries_again(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 429")
    anna, bert = site.couple()
    window = windows.open(anna, path="/#/new")
    refusal = {"status": 429, "json": ["rate_limited"], "headers": {"Retry-After": "2"}}
    window.page.route("**/api/users/@*/short", lambda route: route.fulfill(**refusal), times=1)
    window.handle.fill(bert.user.handle)
    expect(window.page.get_by_text("Too many requests. Please wait 2 seconds.")).to_be_visible()
    expect(window.page.get_by_role("strong")).to_have_text("Bert")


def test_message_that_the_receiver_does_not_accept_is_kept_with_the_reason(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 403")
    anna, bert = site.couple()
    anna.write("one", to=bert)
    window = windows.open(anna).open(bert)
    window.page.route(SENDING, lambda route: route.fulfill(status=403, json=["receiver_unavailable"]))
    window.send("two")
    expect(window.messages.last.get_by_role("alert")).to_contain_text("This message was not accepted.")
    window.page.unroute(SENDING)
    window.messages.last.get_by_role("button", name="Try again").click()
    expect(window.messages.last.get_by_role("alert")).to_have_count(0)
    expect(window.texts).to_have_text(["one", "two"])


def test_block_stops_messages_until_it_ends_and_keeps_the_conversation(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 403")
    anna, bert = site.couple()
    bert.write("one", to=anna)
    annas = windows.open(anna).open(bert)
    berts = windows.open(bert).open(anna)
    annas.choose("Block…")
    dialog = annas.page.get_by_role("dialog", name="Block Bert?")
    expect(dialog).to_contain_text("This person cannot write to you any more, and is not told why.")
    annas.expect_accessible()
    annas.page.set_viewport_size({"width": 1000, "height": 700})
    annas.confirm("Cancel")
    expect(annas.composer).to_be_visible()
    annas.choose("Block…")
    annas.confirm("Block")
    expect(annas.page.get_by_text("You have blocked Bert.")).to_be_visible()
    expect(annas.composer).to_be_hidden()
    expect(annas.row(bert)).to_contain_text("Blocked")
    annas.expect_accessible()
    annas.page.set_viewport_size({"width": 1000, "height": 700})

    berts.send("two")
    expect(berts.messages.last.get_by_role("alert")).to_contain_text("This message was not accepted.")
    expect(berts.page.get_by_text("block", exact=False)).to_have_count(1)  # in the name of a button
    annas.page.reload()
    expect(annas.texts).to_have_text(["one"])
    expect(annas.page.get_by_text("You have blocked Bert.")).to_be_visible()
    annas.expect_title("Cruddur")

    annas.page.get_by_role("button", name="Unblock").click()
    expect(annas.composer).to_be_focused()
    expect(annas.row(bert)).not_to_contain_text("Blocked")
    berts.page.get_by_role("button", name="Try again").click()
    expect(annas.texts).to_have_text(["one", "two"])
    annas.send("three")
    for window in (annas, berts):
        expect(window.texts).to_have_text(["one", "two", "three"])


def test_window_that_does_not_know_of_the_block_says_how_to_write_again(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 403")
    anna, bert = site.couple()
    anna.write("one", to=bert)
    first = windows.open(anna).open(bert)
    second = windows.open(anna, beside=first).open(bert)
    first.choose("Block…")
    first.confirm("Block")
    expect(first.page.get_by_text("You have blocked Bert.")).to_be_visible()
    second.send("two")
    refused = second.messages.last.get_by_role("alert")
    expect(refused).to_contain_text("You have blocked this person. Unblock them to write.")
    second.page.get_by_role("button", name="Unblock").click()
    refused.get_by_role("button", name="Try again").click()
    expect(second.texts).to_have_text(["one", "two"])
    expect(refused).to_have_count(0)


def test_report_needs_a_reason_and_reaches_the_server(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 422")
    anna, bert = site.couple()
    group = bert.write("Buy my jam!", to=anna)["message_group_uuid"]
    window = windows.open(anna).open(bert)
    window.choose("Report…")
    dialog = window.page.get_by_role("dialog", name="Report Bert")
    reason = dialog.get_by_label("What is wrong with this conversation?")
    reason.fill(" ")
    window.confirm("Report")
    expect(dialog.get_by_role("alert")).to_have_text("Please say what is wrong.")
    window.expect_accessible()
    reason.fill("Only jam, every day.")
    window.confirm("Report")
    thanks = window.page.get_by_role("dialog", name="Thank you")
    expect(thanks).to_contain_text("Your report is now with the people who run this site.")
    window.confirm("Close")
    expect(thanks).to_have_count(0)
    assert site.select("SELECT reason FROM reports WHERE message_group_uuid = %s", group) == [("Only jam, every day.",)]


def test_person_sees_and_changes_their_own_profile(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    window = windows.open(anna)
    window.page.get_by_role("link", name="Signed in as Anna").click()
    expect(window.page.get_by_role("heading", name="Your profile")).to_be_focused()
    expect(window.page.get_by_text(f"@{anna.user.handle}, member since ")).to_be_visible()
    expect(window.page.get_by_text("You have blocked nobody.")).to_be_visible()
    window.expect_accessible()
    window.page.set_viewport_size({"width": 1000, "height": 700})
    window.page.get_by_label("Display name").fill("Anna Neu")
    window.page.get_by_label("Nobody").check()
    window.page.get_by_role("button", name="Save").click()
    expect(window.page.get_by_text("Saved.")).to_be_visible()
    expect(window.page.get_by_role("link", name="Signed in as Anna Neu")).to_be_visible()
    window.page.reload()
    expect(window.page.get_by_label("Display name")).to_have_value("Anna Neu")
    expect(window.page.get_by_label("Nobody")).to_be_checked()
    berts = windows.open(bert, path=f"/#/@{anna.user.handle}")
    expect(berts.page.get_by_role("strong")).to_have_text("Anna Neu")


def test_profile_says_why_a_name_cannot_be_saved(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 4")
    anna = site.sign_up()
    window = windows.open(anna, path="/#/me")
    other = windows.open(anna, path="/#/me")
    name = window.page.get_by_label("Display name")
    save = window.page.get_by_role("button", name="Save")
    alert = window.page.get_by_role("alert")
    name.fill(" ")
    save.click()
    expect(alert).to_have_text("The display name is empty.")
    name.fill("x" * 300)
    save.click()
    expect(alert).to_contain_text("characters that are not allowed, or it is too long")
    window.expect_accessible()
    other.page.get_by_label("Display name").fill("Other")
    other.page.get_by_role("button", name="Save").click()
    expect(other.page.get_by_text("Saved.")).to_be_visible()
    name.fill("Anna Neu")
    save.click()
    expect(alert).to_contain_text("The profile was changed in another place.")
    expect(name).to_have_value("Other")
    name.fill("Anna Neu")
    save.click()
    expect(window.page.get_by_text("Saved.")).to_be_visible()


def test_profile_lists_blocked_people_and_unblocks_them(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    clara = site.sign_up("clara")
    for other in (bert, clara):
        other.write("one", to=anna)
    window = windows.open(anna)
    for other in (bert, clara):
        window.open(other)
        window.choose("Block…")
        window.confirm("Block")
        expect(window.row(other)).to_contain_text("Blocked")
    window.page.goto(f"{site.url}/#/me")
    blocked = window.page.get_by_role("main").get_by_role("listitem")
    expect(blocked).to_have_count(2)
    window.expect_accessible()
    window.page.set_viewport_size({"width": 1000, "height": 700})
    window.page.get_by_role("button", name="Unblock Bert").click()
    expect(blocked).to_have_text([re.compile("Clara")])
    expect(window.row(bert)).not_to_contain_text("Blocked")
    window.page.reload()
    expect(blocked).to_have_text([re.compile("Clara")])
    window.page.get_by_role("button", name="Unblock Clara").click()
    expect(window.page.get_by_text("You have blocked nobody.")).to_be_visible()


def test_profile_loads_more_blocked_people_on_request(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    names = {"user_uuid": bert.user.uuid, "handle": bert.user.handle, "created_at": "2026-01-02T08:15:00.375877+00:00"}

    def show_page(route: Route) -> None:
        if "cursor=" in route.request.url:
            route.fulfill(json=[names | {"display_name": "Bert"}, names | {"display_name": "Carl", "deleted": True}])
        else:
            link = f'<{site.url}/api/blocks?limit=100&cursor=two>; rel="next"'
            route.fulfill(json=[names | {"display_name": "Dora"}], headers={"Link": link})

    window = windows.open(anna)
    window.page.route("**/api/blocks?*", show_page)
    window.page.goto(f"{site.url}/#/me")
    blocked = window.page.get_by_role("main").get_by_role("listitem")
    expect(blocked).to_have_text([re.compile("Dora")])
    window.page.get_by_role("button", name="Load more").press("Enter")
    expect(blocked).to_have_text([re.compile("Dora"), re.compile("Bert"), re.compile(r"Carl \(deleted\)")])
    expect(window.page.get_by_role("button", name="Unblock Bert")).to_be_focused()
    expect(window.page.get_by_role("button", name="Load more")).to_be_hidden()
    expect(window.page.get_by_role("button", name=re.compile("^Unblock"))).to_have_count(2)
