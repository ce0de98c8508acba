"""Cursors over HTTP: whoever makes one up, alters one, or takes one elsewhere is refused."""

from __future__ import annotations

import uuid
from urllib.parse import parse_qs, urlsplit

import pytest
from itsdangerous import URLSafeSerializer

from tests.support.api import Api, Person, refused, run_api

INBOX = "/api/message_groups"

api = pytest.fixture(scope="module")(run_api)


def cursor_of(person: Person, path: str) -> str:
    """The cursor of the second page."""
    link = person.get(path, limit=1).headers["Link"]
    return parse_qs(urlsplit(link[1 : link.index(">")]).query)["cursor"][0]


def messages_path(anna: Person, bert: Person) -> str:
    """Where a conversation of two messages is."""
    group = [anna.write(text, to=bert)["message_group_uuid"] for text in ("one", "two")][0]
    return f"/api/messages/{group}"


def assert_refused(person: Person, path: str, cursor: str) -> None:
    assert refused(person.get(path, cursor=cursor)) == (422, ["cursor_invalid"])


def test_a_cursor_works_again_and_for_the_other_member(api: Api) -> None:
    anna, bert = api.couple()
    path = messages_path(anna, bert)
    cursor = cursor_of(anna, path)
    pages = [person.get(path, cursor=cursor).json for person in (anna, anna, bert)]
    assert [[row["message"] for row in page] for page in pages] == [["one"]] * 3


def test_a_cursor_works_at_every_process_of_a_deployment(api: Api) -> None:
    anna, bert = api.couple()
    path = messages_path(anna, bert)
    with api.variant() as other:
        assert other.sign_in(anna.user).get(path, cursor=cursor_of(anna, path)).status_code == 200
    with api.variant(secret_key="another deployment's secret") as foreign:
        assert_refused(foreign.sign_in(anna.user), path, cursor_of(anna, path))


@pytest.mark.parametrize("cursor", ["", "x", ".", "a.b", "%00", "\0", "\ud7ff.☃", "." * 200, "x" * 9000, "None", "{}"])
@pytest.mark.parametrize("inbox", [True, False])
def test_a_cursor_that_was_made_up_is_refused(api: Api, cursor: str, inbox: bool) -> None:
    anna, bert = api.couple()
    assert_refused(anna, INBOX if inbox else messages_path(anna, bert), cursor)


def test_a_cursor_signed_with_another_secret_is_refused(api: Api) -> None:
    anna = api.sign_up()
    forged = URLSafeSerializer("a guess", salt=f"cursor GRP#{anna.user.uuid}").dumps("2026")
    assert_refused(anna, INBOX, str(forged))


def test_an_altered_cursor_is_refused(api: Api) -> None:
    anna, bert = api.couple()
    path = messages_path(anna, bert)
    cursor = cursor_of(anna, path)
    payload, _, signature = cursor.partition(".")
    for altered in (f"A{cursor[1:]}", f"{payload[:-1]}.{signature}", payload, f"{cursor}.x", cursor.swapcase()):
        assert_refused(anna, path, altered)


def test_a_cursor_of_another_conversation_is_refused(api: Api) -> None:
    anna, bert = api.couple()
    first, second = messages_path(anna, bert), messages_path(anna, api.sign_up())
    assert_refused(anna, second, cursor_of(anna, first))


def test_a_cursor_of_another_users_inbox_is_refused(api: Api) -> None:
    anna, bert = api.couple()
    for other in (api.sign_up(), api.sign_up()):
        anna.write("hello", to=other)
    assert_refused(bert, INBOX, cursor_of(anna, INBOX))


def test_a_cursor_of_messages_is_none_of_the_inbox(api: Api) -> None:
    anna, bert = api.couple()
    path = messages_path(anna, bert)
    anna.write("hello", to=api.sign_up())
    assert_refused(anna, INBOX, cursor_of(anna, path))
    assert_refused(anna, path, cursor_of(anna, INBOX))


def test_a_cursor_opens_no_conversation_of_others(api: Api) -> None:
    anna, bert = api.couple()
    path = messages_path(anna, bert)
    answer = api.sign_up().get(path, cursor=cursor_of(anna, path))
    assert refused(answer) == (404, ["message_group_not_found"])


def test_a_cursor_tells_nothing_about_an_unknown_conversation(api: Api) -> None:
    answer = api.sign_up().get(f"/api/messages/{uuid.uuid4()}", cursor="x")
    assert refused(answer) == (404, ["message_group_not_found"])
