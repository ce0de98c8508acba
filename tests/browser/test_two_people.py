"""Two people in two windows of one browser: what each sees of what the other does."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from services.validation import MESSAGE_MAX_CHARS
from tests.support.browser import Windows
from tests.support.site import Site, stranger

pytestmark = pytest.mark.browser


def test_first_message_arrives_with_a_badge_and_is_seen(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    annas = windows.open(anna)
    berts = windows.open(bert, beside=annas)
    expect(berts.inbox).to_contain_text("No conversations yet.")
    annas.page.get_by_role("link", name="New message").click()
    annas.handle.fill(f"@{bert.user.handle}")
    expect(annas.page.get_by_role("strong")).to_have_text("Bert")
    annas.send("Hello Bert!")
    expect(annas.page.get_by_role("heading", name="Bert")).to_be_visible()
    expect(annas.texts).to_have_text(["Hello Bert!"])
    expect(annas.row(bert)).to_contain_text("Hello Bert!")

    expect(berts.row(anna)).to_contain_text("Hello Bert!")
    expect(berts.inbox.get_by_label("1 unread")).to_be_visible()
    berts.expect_title("(1) Cruddur")
    expect(annas.log).not_to_contain_text("Seen")
    berts.open(anna)
    expect(berts.texts).to_have_text(["Hello Bert!"])
    expect(annas.log.get_by_text("Seen", exact=True)).to_be_visible()
    expect(berts.inbox.get_by_label("unread")).to_have_count(0)
    berts.expect_title("Cruddur")
    [row] = bert.inbox()
    assert (row["message"], row["unread_count"]) == ("Hello Bert!", 0)


def test_messages_and_typing_arrive_by_themselves(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    anna.write("one", to=bert)
    annas = windows.open(anna).open(bert)
    berts = windows.open(bert, beside=annas).open(anna)
    typing = annas.page.get_by_text("Bert is typing…")
    expect(typing).to_be_hidden()
    berts.composer.press_sequentially("tw")
    expect(typing).to_be_visible()
    berts.send("two")
    expect(annas.texts).to_have_text(["one", "two"])
    expect(typing).to_be_hidden()
    expect(berts.page.get_by_text("Anna is typing…")).to_be_hidden()
    annas.send("three")
    expect(berts.texts).to_have_text(["one", "two", "three"])
    berts.send("four")
    for window in (annas, berts):
        expect(window.texts).to_have_text(["one", "two", "three", "four"])
    berts.send("five\nlines")
    expect(annas.texts.last).to_have_text("five\nlines", use_inner_text=True)


def test_typing_sign_goes_by_itself(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    anna.write("one", to=bert)
    annas = windows.open(anna).open(bert)
    berts = windows.open(bert, beside=annas).open(anna)
    annas.page.clock.install()
    berts.composer.press_sequentially("h")
    typing = annas.page.get_by_text("Bert is typing…")
    expect(typing).to_be_visible()
    annas.page.clock.fast_forward(6_000)
    expect(typing).to_be_hidden(timeout=1_000)


def test_badges_count_and_mark_unread_brings_one_back(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    clara = site.sign_up("clara")
    window = windows.open(anna)
    for text in ("one", "two"):
        bert.write(text, to=anna)
    clara.write("three", to=anna)
    expect(window.row(bert).get_by_label("2 unread")).to_be_visible()
    window.expect_title("(3) Cruddur")
    window.open(bert)
    window.expect_title("(1) Cruddur")
    window.choose("Mark unread")
    expect(window.row(bert).get_by_label("unread")).to_be_visible()
    window.expect_title("(2) Cruddur")
    window.page.reload()
    expect(window.row(bert).get_by_label("unread")).to_be_visible()
    window.open(bert)
    expect(window.row(bert).get_by_label("unread")).to_have_count(0)
    window.expect_title("(1) Cruddur")


def test_window_sends_no_request_that_it_does_not_need(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    window = windows.open()
    requests: list[str] = []
    window.page.on("request", lambda request: requests.append(f"{request.method} {urlsplit(request.url).path}"))
    window.sign_in(anna).open(bert)
    for text in ("two", "three", "four"):
        window.send(text)
        expect(window.row(bert)).to_contain_text(text)
    bert.read(group, 4)
    expect(window.log.get_by_text("Seen", exact=True)).to_be_visible()  # the rows came before
    assert requests.count("GET /api/message_groups") == 1
    assert requests.count("POST /api/messages") == 3
    assert f"POST /api/message_groups/{group}/read" not in requests


def test_today_becomes_yesterday_at_midnight(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    sent_at = datetime.fromisoformat(anna.write("one", to=bert)["created_at"])
    window = windows.open()
    window.page.clock.install(time=sent_at.replace(hour=23, minute=59, second=40))
    window.sign_in(anna).open(bert)
    day = window.log.get_by_role("heading")
    expect(day).to_have_text("Today")
    expect(window.row(bert)).to_contain_text(f"{sent_at:%H:%M}")
    window.page.clock.fast_forward("00:35")
    expect(day).to_have_text("Yesterday")
    expect(window.row(bert)).to_contain_text(f"{sent_at.day} {sent_at:%b}")


def test_newest_conversation_is_first_and_search_finds_names_and_texts(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    clara = site.sign_up("clara")
    clara.write("Do you like jam?", to=anna)
    bert.write("Do you like tea?", to=anna)
    window = windows.open(anna)
    window.expect_rows(bert, clara)
    clara.write("Or honey?", to=anna)
    window.expect_rows(clara, bert)
    search = window.page.get_by_role("searchbox", name="Search the conversations")
    search.fill("TEA you")
    window.expect_rows(bert)
    search.fill(f"@{clara.user.handle}")
    window.expect_rows(clara)
    search.fill("nobody")
    expect(window.inbox).to_contain_text("Nothing found.")
    search.clear()
    expect(window.rows).to_have_count(2)


def test_next_rows_of_the_inbox_load_on_request(site: Site, windows: Windows) -> None:
    anna = site.sign_up("anna")
    for n in range(101):
        site.fill((anna, stranger(n)), [f"I am number {n}"], unread=1)
    window = windows.open(anna)
    expect(window.rows).to_have_count(100)
    window.expect_title("(100) Cruddur")
    window.page.get_by_role("button", name="Load more").press("Enter")
    expect(window.rows).to_have_count(101)
    expect(window.rows.last).to_be_focused()
    expect(window.page.get_by_role("button", name="Load more")).to_be_hidden()
    window.expect_title("(101) Cruddur")


def test_message_to_a_hidden_window_is_seen_when_the_person_returns(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    anna.write("one", to=bert)
    annas = windows.open(anna).open(bert)
    berts = windows.open(bert).open(anna)
    expect(annas.messages.last.locator("+ p")).to_have_text("Seen")
    berts.show(is_visible=False)
    annas.send("two")
    expect(berts.texts).to_have_text(["one", "two"])
    berts.expect_title("(1) Cruddur")
    [row] = bert.inbox()
    assert row["unread_count"] == 1
    berts.show(is_visible=True)
    expect(annas.messages.last.locator("+ p")).to_have_text("Seen")
    berts.expect_title("Cruddur")


def test_new_message_names_what_is_wrong_with_a_handle(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 404")
    anna, bert = site.couple()
    anna.write("one", to=bert)
    window = windows.open(anna, path="/#/new")
    window.handle.fill("nobody-at-all")
    expect(window.page.get_by_text("There is no such person.")).to_be_visible()
    expect(window.composer).to_be_hidden()
    window.handle.fill(anna.user.handle)
    expect(window.page.get_by_text("That is you.")).to_be_visible()
    window.handle.fill(bert.user.handle)
    window.send("two")
    expect(window.texts).to_have_text(["one", "two"])  # in the conversation that they have


def test_composer_counts_characters_as_the_server_does(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    anna.write("one", to=bert)
    window = windows.open(anna).open(bert)
    send = window.page.get_by_role("button", name="Send")
    expect(send).to_be_disabled()
    window.composer.fill(" \n")
    expect(send).to_be_disabled()
    longest = "\N{OWL}" * MESSAGE_MAX_CHARS  # two units of UTF-16 each
    window.composer.fill(longest + "x")
    expect(send).to_be_disabled()
    window.composer.fill(longest)
    send.click()
    expect(window.texts).to_have_text(["one", longest])
    expect(window.composer).to_have_value("")


def test_enter_ends_a_composition_and_then_sends(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    anna.write("one", to=bert)
    window = windows.open(anna).open(bert)
    window.composer.focus()
    keyboard = window.page.context.new_cdp_session(window.page)
    keyboard.send("Input.imeSetComposition", {"text": "にほん", "selectionStart": 3, "selectionEnd": 3})
    keyboard.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", "key": "Enter"})
    keyboard.send("Input.insertText", {"text": "日本"})
    expect(window.composer).to_have_value("日本")
    window.composer.press("Enter")
    expect(window.texts).to_have_text(["one", "日本"])


def test_two_tabs_of_one_person_show_the_same(site: Site, windows: Windows) -> None:
    anna, bert = site.couple()
    bert.write("one", to=anna)
    first = windows.open(anna)
    second = windows.open(anna, beside=first)
    for window in (first, second):
        expect(window.inbox.get_by_label("1 unread")).to_be_visible()
    first.open(bert)
    expect(second.inbox.get_by_label("unread")).to_have_count(0)
    second.open(bert)
    first.send("two")
    expect(second.texts).to_have_text(["one", "two"])
    second.send("three")
    for window in (first, second):
        expect(window.texts).to_have_text(["one", "two", "three"])
        expect(window.page.get_by_text("Sending…")).to_have_count(0)
    [row] = bert.inbox()
    assert bert.texts(row["uuid"]) == ["one", "two", "three"]
