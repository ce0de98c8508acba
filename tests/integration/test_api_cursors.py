"""Cursors over HTTP: the API refuses a made-up one, an altered one, and one of another list."""

from __future__ import annotations

import string
from urllib.parse import parse_qs, urlsplit

import pytest
from itsdangerous import URLSafeSerializer

from tests.support.api import Api, Person, refused, run_api
from tests.support.lists import INBOX, conversation, feed_cursor, links, texts

api = pytest.fixture(scope="module")(run_api)


def cursor_of(person: Person, path: str) -> str:
    """The cursor of a list's second page."""
    return parse_qs(urlsplit(links(person.get(path, limit=1))["next"]).query)["cursor"][0]


def assert_refused(person: Person, path: str, cursor: str, *, name: str = "cursor") -> None:
    assert refused(person.get(path, **{name: cursor})) == (422, ["cursor_invalid"])


def test_cursor_works_for_both_members_at_every_process_of_a_deployment(api: Api) -> None:
    anna, path, sent = conversation(api, 2)
    bert = api.sign_in(api.app.extensions["dependencies"].users.by_handle(sent[1]["handle"]))
    cursor = cursor_of(anna, path)
    with api.variant() as other:
        for person in (anna, anna, bert, other.sign_in(anna.user)):
            assert texts(person.get(path, cursor=cursor)) == ["0"]
    with api.variant(secret_key="another deployment's secret") as foreign:
        assert_refused(foreign.sign_in(anna.user), path, cursor)
        assert_refused(foreign.sign_in(anna.user), INBOX, feed_cursor(anna), name="since")


def test_cursor_of_a_fallback_key_is_valid_and_new_ones_have_the_key(api: Api) -> None:
    anna, path, _ = conversation(api, 2)
    cursor, since, old = cursor_of(anna, path), feed_cursor(anna), api.settings.secret_key
    with api.variant(secret_key="n" * 32, secret_key_fallbacks=old) as rolled:
        person = rolled.sign_in(anna.user)
        assert texts(person.get(path, cursor=cursor)) == ["0"]
        assert person.get(INBOX, since=since).status_code == 200
        new_cursor, new_since = cursor_of(person, path), feed_cursor(person)
    assert_refused(anna, path, new_cursor)
    assert_refused(anna, INBOX, new_since, name="since")
    with api.variant(secret_key_fallbacks=f"{'m' * 32},{'n' * 32}") as prepared:
        assert texts(prepared.sign_in(anna.user).get(path, cursor=new_cursor)) == ["0"]


@pytest.mark.parametrize("cursor", ["", "x", ".", "a.b", "%00", "\0", "\ud7ff.☃", "." * 200, "x" * 9000, "None", "{}"])
def test_malformed_cursor_is_refused(api: Api, cursor: str) -> None:
    anna, path, _ = conversation(api, 1)
    assert_refused(anna, path, cursor)
    assert_refused(anna, INBOX, cursor)
    assert_refused(anna, INBOX, cursor, name="since")


def test_altered_or_forged_cursor_is_refused(api: Api) -> None:
    anna, path, _ = conversation(api, 2)
    cursor, since = cursor_of(anna, path), feed_cursor(anna)
    payload, _, signature = cursor.partition(".")
    for altered in (f"A{cursor[1:]}", f"{payload[:-1]}.{signature}", payload, f"{cursor}.x", cursor.swapcase()):
        assert_refused(anna, path, altered)
    for altered in (f"A{since[1:]}", since[:-1], since.swapcase(), since.partition(".")[0], f"{since}.x"):
        assert_refused(anna, INBOX, altered, name="since")
    for name, purpose, payload in (("cursor", "cursor", "2026"), ("since", "feed", ["", ""])):
        forged = URLSafeSerializer("a guess", salt=f"{purpose} GRP#{anna.user.uuid}").dumps(payload)
        assert_refused(anna, INBOX, str(forged), name=name)


@pytest.mark.parametrize("appended", ["A", "AAAA", "=", "=A", "==", "!", " ", "\n", "\0", "é", "-", "_"])
def test_signature_with_more_characters_is_refused(api: Api, appended: str) -> None:
    """Base64 ignores most of them."""
    anna, path, _ = conversation(api, 2)
    anna.write("hello", to=api.sign_up())
    assert_refused(anna, path, cursor_of(anna, path) + appended)
    assert_refused(anna, INBOX, cursor_of(anna, INBOX) + appended)
    assert_refused(anna, INBOX, feed_cursor(anna) + appended, name="since")


def test_signature_with_other_unused_bits_is_refused(api: Api) -> None:
    anna, path, _ = conversation(api, 2)
    cursor, since = cursor_of(anna, path), feed_cursor(anna)
    alphabet = f"{string.ascii_uppercase}{string.ascii_lowercase}{string.digits}-_"
    for unused_bits in (1, 2, 3):
        assert_refused(anna, path, cursor[:-1] + alphabet[alphabet.index(cursor[-1]) + unused_bits])
        assert_refused(anna, INBOX, since[:-1] + alphabet[alphabet.index(since[-1]) + unused_bits], name="since")


def test_cursor_of_another_list_is_refused(api: Api) -> None:
    (anna, path, _), (carl, other_path, _) = conversation(api, 2), conversation(api, 2)
    for person in (api.sign_up(), carl):
        anna.write("hello", to=person)
    assert_refused(anna, path, cursor_of(carl, other_path))
    assert_refused(anna, path, cursor_of(anna, INBOX))
    assert_refused(anna, INBOX, cursor_of(anna, path))
    assert_refused(anna, INBOX, cursor_of(carl, INBOX))
    assert_refused(anna, INBOX, feed_cursor(carl), name="since")
    assert_refused(anna, INBOX, cursor_of(anna, INBOX), name="since")
    assert_refused(anna, INBOX, feed_cursor(anna))


def test_cursor_opens_no_conversation_of_others(api: Api) -> None:
    anna, path, _ = conversation(api, 2)
    for cursor in (cursor_of(anna, path), "x"):
        assert refused(api.sign_up().get(path, cursor=cursor)) == (404, ["message_group_not_found"])


def test_feed_cursor_is_the_only_position_and_keeps_the_limit(api: Api) -> None:
    anna = api.sign_up()
    since = feed_cursor(anna)
    assert refused(anna.get(INBOX, since=since, cursor="x")) == (422, ["position_ambiguous"])
    assert refused(anna.get(INBOX, since=since, limit="0")) == (422, ["limit_invalid"])
