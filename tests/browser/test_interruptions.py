"""What a person sees and keeps when the API, the network or the session ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Route, expect

from lib.ddb.schema import create_table
from tests.support.browser import Window, Windows
from tests.support.site import TABLE, Person, Site
from tests.support.stores import TableContents

pytestmark = pytest.mark.browser

NO_RESPONSE = "net::ERR_"
SENDING = "**/api/messages"
EVENTS = "**/api/events"


def open_conversation(site: Site, windows: Windows) -> tuple[Person, Person, str, Window]:
    """Anna and Bert, the uuid of their conversation, and Anna's window. Anna has written "one"."""
    anna, bert = site.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    return anna, bert, group, windows.open(anna).open(bert)


def test_windows_go_on_after_api_was_killed_and_started_again(site: Site, windows: Windows) -> None:
    windows.expect_problem(NO_RESPONSE)
    anna, bert = site.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    annas = windows.open(anna).open(bert)
    berts = windows.open(bert, beside=annas).open(anna)
    annas.expect_connected()
    berts.expect_connected()
    site.kill()
    annas.expect_problem("Connecting…")
    annas.send("two")
    expect(annas.texts).to_have_text(["one", "two"])
    site.server.start()
    for window in (annas, berts):
        expect(window.texts).to_have_text(["one", "two"])
        window.expect_connected()
    bert.write("three", to=anna)
    annas.send("four")
    for window in (annas, berts):
        expect(window.texts).to_have_text(["one", "two", "three", "four"])
    assert bert.texts(group) == ["one", "two", "three", "four"]


def test_messages_wait_while_offline_and_go_out_in_order(site: Site, windows: Windows) -> None:
    windows.expect_problem(NO_RESPONSE)
    anna, bert, group, window = open_conversation(site, windows)
    window.expect_connected()
    window.page.context.set_offline(True)
    window.expect_problem("Offline")
    for text in ("three", "four"):
        window.send(text)
    expect(window.texts).to_have_text(["one", "three", "four"])
    bert.write("two", to=anna)
    window.page.context.set_offline(False)
    expect(window.texts).to_have_text(["one", "two", "three", "four"])
    expect(window.page.get_by_text("Sending…")).to_have_count(0)
    assert bert.texts(group) == ["one", "two", "three", "four"]


def test_read_positions_that_changed_while_offline_show_afterwards(site: Site, windows: Windows) -> None:
    windows.expect_problem(NO_RESPONSE)
    anna, bert, group, window = open_conversation(site, windows)
    other_group = site.sign_up("clara").write("one", to=anna)["message_group_uuid"]
    expect(window.inbox.get_by_label("1 unread")).to_be_visible()
    window.page.context.set_offline(True)
    window.expect_problem("Offline")
    bert.read(group, 1)
    anna.read(other_group, 1)  # with another device
    window.page.context.set_offline(False)
    expect(window.log.get_by_text("Seen", exact=True)).to_be_visible()
    expect(window.inbox.get_by_label("unread")).to_have_count(0)


def test_failed_requests_are_repeated_when_the_network_is_back(site: Site, windows: Windows) -> None:
    windows.expect_problem(NO_RESPONSE)
    anna, bert = site.couple()
    anna.write("one", to=bert)
    reader = windows.open(anna)
    writer = windows.open(anna, path="/#/new")
    expect(reader.row(bert)).to_be_visible()
    expect(writer.handle).to_be_visible()
    for window in (reader, writer):
        window.expect_connected()
        window.page.context.set_offline(True)
    reader.row(bert).click()
    writer.handle.fill(bert.user.handle)
    for window in (reader, writer):
        expect(window.page.get_by_text("The server does not respond.")).to_be_visible()
        window.page.context.set_offline(False)
    expect(reader.texts).to_have_text(["one"])
    expect(writer.page.get_by_role("strong")).to_have_text("Bert")


def test_window_of_a_computer_that_slept_connects_again(site: Site, windows: Windows) -> None:
    window = windows.open(site.sign_up())
    window.expect_connected()
    window.page.clock.install()
    window.page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))  # no timer runs
    with window.page.expect_request(EVENTS):
        window.show(is_visible=True)
        window.page.clock.resume()


def test_silent_stream_is_opened_again(site: Site, windows: Windows) -> None:
    window = windows.open()
    window.page.clock.install()
    with window.page.expect_response(EVENTS):
        window.sign_in(site.sign_up())
    window.expect_connected()
    with window.page.expect_request(EVENTS):
        window.page.clock.fast_forward("00:41")


@pytest.mark.parametrize("refusal", ["410", "422", "reload"])
def test_cursor_that_the_server_refuses_loses_no_message(site: Site, windows: Windows, refusal: str) -> None:
    windows.expect_problem(f"status of {refusal}")
    anna, bert = site.couple()
    anna.write("one", to=bert)
    window = windows.open()
    streams: list[Route] = []
    window.page.route(EVENTS, lambda route: streams.append(route))
    window.sign_in(anna).open(bert)
    expect(window.texts).to_have_text(["one"])
    bert.write("two", to=anna)
    first_cursor = streams[0].request.headers["last-event-id"]
    inbox = window.page.request.get(f"{site.url}/api/message_groups", headers={"Authorization": anna.authorization})

    def refuse(route: Route) -> None:
        if route.request.headers["last-event-id"] != first_cursor:
            route.continue_()
        elif refusal == "reload":
            event = f"event: reload\ndata: {{}}\nid: {inbox.headers['feed-cursor']}\n\n"
            route.fulfill(content_type="text/event-stream", body=event)
        else:
            route.fulfill(status=int(refusal), json=["cursor_refused"])

    window.page.route(EVENTS, refuse)
    refuse(streams[0])
    expect(window.texts).to_have_text(["one", "two"])
    expect(window.row(bert)).to_contain_text("two")
    window.expect_connected()


@contextmanager
def restored_table(site: Site) -> Iterator[Callable[[], None]]:
    """Keep the items of now. A call of the function lets the server go on with a table that has these."""
    table = f"{TABLE}-restored"
    create_table(site.dynamodb, table)
    TableContents(site.dynamodb, table).put(*TableContents(site.dynamodb, TABLE).items())

    def switch(name: str = table) -> None:
        site.kill()
        site.server.env = {**site.server.env, "DDB_TABLE": name}
        site.server.start()

    yield switch
    switch(TABLE)
    site.dynamodb.delete_table(TableName=table)


@pytest.mark.parametrize("count", [1, 3])
def test_window_shows_every_message_of_a_table_that_was_restored(site: Site, windows: Windows, count: int) -> None:
    """After the switch, new messages get the numbers of the lost ones."""
    windows.expect_problem(NO_RESPONSE)
    windows.expect_problem("status of 422")
    anna, bert, _, window = open_conversation(site, windows)
    with restored_table(site) as switch:
        bert.write("lost", to=anna)
        bert.write("lost, too", to=anna)
        expect(window.texts).to_have_text(["one", "lost", "lost, too"])
        window.page.context.set_offline(True)
        switch()
        new = [f"new {n}" for n in range(count)]
        for text in new:
            bert.write(text, to=anna)
        window.page.context.set_offline(False)
        expect(window.texts).to_have_text(["one", *new])
        window.expect_connected()
        bert.write("live", to=anna)
        expect(window.texts).to_have_text(["one", *new, "live"])


def test_window_goes_on_when_its_conversation_is_not_in_the_restored_table(site: Site, windows: Windows) -> None:
    windows.expect_problem(NO_RESPONSE)
    for status in (404, 422):
        windows.expect_problem(f"status of {status}")
    with restored_table(site) as switch:
        anna, bert, _, window = open_conversation(site, windows)
        clara = site.sign_up("clara")
        window.page.context.set_offline(True)
        switch()
        window.page.context.set_offline(False)
        window.expect_connected()
        clara.write("hello", to=anna)
        window.expect_rows(clara)


@pytest.mark.parametrize(("status", "code"), [(429, "too_many_streams"), (503, "live_updates_unavailable")])
def test_conversation_works_without_live_updates(site: Site, windows: Windows, status: int, code: str) -> None:
    windows.expect_problem(f"status of {status}")
    windows.expect_problem(NO_RESPONSE)
    anna, bert = site.couple()
    group = bert.write("one", to=anna)["message_group_uuid"]
    window = windows.open()
    window.page.route(EVENTS, lambda route: route.fulfill(status=status, json=[code]))
    window.sign_in(anna).open(bert)
    expect(window.texts).to_have_text(["one"])
    window.page.route(SENDING, lambda route: route.abort())
    with window.page.expect_event("requestfailed"):
        window.send("two")
    window.page.unroute(SENDING)
    window.page.reload()
    expect(window.texts).to_have_text(["one", "two"])
    expect(window.page.get_by_text("Sending…")).to_have_count(0)
    assert bert.texts(group) == ["one", "two"]


def test_message_whose_response_was_lost_is_sent_once(site: Site, windows: Windows) -> None:
    windows.expect_problem(NO_RESPONSE)
    _, bert, group, window = open_conversation(site, windows)

    def lose_response(route: Route) -> None:
        route.fetch()
        route.abort()

    window.page.route(SENDING, lose_response, times=1)
    window.send("two")
    window.send("three")
    expect(window.texts).to_have_text(["one", "two", "three"])
    expect(window.page.get_by_text("Sending…")).to_have_count(0)
    assert bert.texts(group) == ["one", "two", "three"]


def test_waiting_message_survives_reload_and_is_sent_once(site: Site, windows: Windows) -> None:
    windows.expect_problem(NO_RESPONSE)
    _, bert, group, window = open_conversation(site, windows)
    window.page.route(SENDING, lambda route: route.abort())
    with window.page.expect_event("requestfailed"):
        window.send("two")
    window.page.reload()
    expect(window.texts).to_have_text(["one", "two"])
    assert bert.texts(group) == ["one"]
    window.page.unroute(SENDING)
    expect(window.page.get_by_text("Sending…")).to_have_count(0)
    window.page.reload()
    expect(window.texts).to_have_text(["one", "two"])
    assert bert.texts(group) == ["one", "two"]


def test_refused_message_says_why_and_can_be_sent_again_or_deleted(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 422")
    anna, bert, _, window = open_conversation(site, windows)
    window.page.context.route(SENDING, lambda route: route.fulfill(status=422, json=["message_invalid"]))
    window.send("two")
    window.send("three")
    other = windows.open(anna, beside=window).open(bert)
    for shown in (window, other):
        refused = shown.messages.filter(has_text="The message has characters that cannot be sent.")
        expect(refused).to_have_count(2)
    window.page.context.unroute(SENDING)
    window.messages.filter(has_text="two").get_by_role("button", name="Delete").click()
    window.messages.filter(has_text="three").get_by_role("button", name="Try again").click()
    for shown in (window, other):
        expect(shown.texts).to_have_text(["one", "three"])
        expect(shown.page.get_by_role("button", name="Try again")).to_have_count(0)


def test_refused_first_message_is_announced_and_waits_for_a_decision(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 404")
    clara = site.sign_up("clara")
    _, bert, _, window = open_conversation(site, windows)
    page = window.page
    page.goto(f"{site.url}/#/@{clara.user.handle}")
    sends: list[Route] = []
    page.route(SENDING, lambda route: sends.append(route))
    with page.expect_request(SENDING):
        window.send("Hello")
    window.open(bert)
    sends[0].fulfill(status=404, json=["receiver_not_found"])
    expect(page.get_by_text("Your message “Hello”: There is no such person.")).to_be_attached()
    page.unroute(SENDING)
    page.goto(f"{site.url}/#/new")
    page.reload()
    refused = page.get_by_role("article").filter(has_text=f"To @{clara.user.handle}")
    expect(refused.get_by_role("alert")).to_contain_text("There is no such person.")
    refused.get_by_role("button", name="Try again").click()
    expect(refused).to_have_count(0)
    expect(window.row(clara)).to_contain_text("Hello")


def test_message_without_response_for_a_day_waits_for_a_decision(site: Site, windows: Windows) -> None:
    windows.expect_problem(NO_RESPONSE)
    _, bert, group, window = open_conversation(site, windows)
    window.page.context.route(SENDING, lambda route: route.abort())
    with window.page.expect_event("requestfailed"):
        window.send("two")
    window.page.clock.install()
    window.page.clock.fast_forward("24:00:00")  # longer than the server knows the Idempotency-Key
    expect(window.messages.last.get_by_role("alert")).to_contain_text("This message may not have been sent.")
    window.page.context.unroute(SENDING)
    window.messages.last.get_by_role("button", name="Try again").click()
    expect(window.messages.last.get_by_role("alert")).to_have_count(0)
    expect(window.page.get_by_text("Sending…")).to_have_count(0)
    assert bert.texts(group) == ["one", "two"]


@contextmanager
def access_tokens_of(site: Site, seconds: int) -> Iterator[None]:
    """Let Cognito issue access tokens that are valid so long."""
    client = {"UserPoolId": site.pool.user_pool_id, "ClientId": site.pool.client_id}
    keep = site.cognito.describe_user_pool_client(**client)["UserPoolClient"]
    flows = {"ExplicitAuthFlows": keep["ExplicitAuthFlows"]}
    units = {"AccessToken": "seconds"}
    site.cognito.update_user_pool_client(**client, **flows, AccessTokenValidity=seconds, TokenValidityUnits=units)
    try:
        yield
    finally:
        site.cognito.update_user_pool_client(**client, **flows, AccessTokenValidity=3600, TokenValidityUnits=units)


def test_token_that_expires_in_mid_session_is_renewed_unseen(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 401")  # the client may learn it from the server
    anna, bert = site.couple()
    anna.write("one", to=bert)
    window = windows.open()
    page = window.page
    with access_tokens_of(site, 4):
        # The page believes that the token is valid for an hour, as with a clock that is slow.
        page.route(f"{site.cognito_url}/", overstate_validity)
        window.sign_in(anna).open(bert)
        page.unroute(f"{site.cognito_url}/")
    with page.expect_request(lambda request: "REFRESH_TOKEN" in (request.post_data or "")):
        pass  # the server ends the stream when the token expires
    bert.write("two", to=anna)
    expect(window.texts).to_have_text(["one", "two"])
    window.send("three")
    expect(window.texts).to_have_text(["one", "two", "three"])
    expect(window.page.get_by_text("Sending…")).to_have_count(0)
    window.expect_connected()


def overstate_validity(route: Route) -> None:
    response = route.fetch()
    if "AuthenticationResult" not in response.text():
        route.fulfill(response=response)
        return
    body = response.json()
    body["AuthenticationResult"]["ExpiresIn"] = 3600
    route.fulfill(response=response, json=body)


def test_ended_session_leads_to_sign_in_and_back_with_the_draft(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 400")  # Cognito refuses the refresh token
    windows.expect_problem("status of 401")
    anna, bert = site.couple()
    anna.write("one", to=bert)
    window = windows.open()
    page = window.page
    with access_tokens_of(site, 4):
        window.sign_in(anna).open(bert)
        window.composer.fill("a draft")
        refresh_token = page.evaluate("JSON.parse(sessionStorage.getItem('cruddur-session')).refreshToken")
        site.cognito.revoke_token(ClientId=site.pool.client_id, Token=refresh_token)
        expect(page.get_by_role("alert")).to_have_text("You were signed out. Please sign in again.")
    window.sign_in(anna)
    expect(page.get_by_role("heading", name="Bert")).to_be_visible()
    expect(window.composer).to_have_value("a draft")


def test_window_of_a_person_who_is_signed_out_leads_to_sign_in_by_itself(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 401")
    anna, _, _, window = open_conversation(site, windows)
    window.expect_connected()
    renewals: list[str] = []
    window.page.on("request", lambda request: renewals.append(request.post_data or ""))
    site.execute("UPDATE users SET signed_out_at = now() WHERE uuid = %s", anna.user.uuid)
    expect(window.page.get_by_role("alert")).to_have_text("You were signed out. Please sign in again.")
    assert not any("REFRESH_TOKEN" in body for body in renewals)  # a new token would undo the sign-out
    window.page.wait_for_timeout(2_000)  # a token from just after a sign-out may be from just before it
    window.sign_in(anna)
    expect(window.texts).to_have_text(["one"])


def test_page_reports_storage_outage_and_opens_conversation_after_it(site: Site, windows: Windows) -> None:
    windows.expect_problem("status of 503")
    anna, bert = site.couple()
    group = anna.write("one", to=bert)["message_group_uuid"]
    window = windows.open(anna)
    window.expect_connected()
    messages = f"**/api/messages/{group}?*"
    window.page.route(messages, lambda route: route.fulfill(status=503, json=["storage_unavailable"]))
    window.page.clock.install()
    window.row(bert).click()
    alert = window.page.get_by_role("alert")
    for _ in range(4):  # the page tries again by itself
        window.page.clock.run_for(8_000)
    expect(alert).to_contain_text("try again")
    window.page.unroute(messages)
    window.page.get_by_role("button", name="Try again").click()
    expect(window.texts).to_have_text(["one"])
