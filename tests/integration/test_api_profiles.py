"""The caller's own profile, and the public profile by uuid."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.test import TestResponse

from lib.clock import from_timestamp, now
from tests.support.api import Api, Person, ok, refused, run_api

api = pytest.fixture(scope="module")(run_api)


def change(person: Person, body: object, **headers: str) -> TestResponse:
    return person.client.patch("/api/users/me", headers={**person.headers, **headers}, json=body)


def test_own_profile_has_the_fields_of_the_row(api: Api) -> None:
    anna = api.sign_up("anna")
    profile = ok(anna.get("/api/users/me"))
    created_at = from_timestamp(profile.pop("created_at"))
    assert abs((now() - created_at).total_seconds()) < 60
    assert profile == {
        "uuid": anna.user.uuid,
        "handle": anna.user.handle,
        "display_name": "Anna",
        "accepts_messages_from": "everybody",
    }


def test_unchanged_profile_is_not_sent_again(api: Api) -> None:
    anna = api.sign_up("anna")
    etag = anna.get("/api/users/me").headers["ETag"]
    again = anna.client.get("/api/users/me", headers={**anna.headers, "If-None-Match": etag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", etag)


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ({"display_name": "Anna Neu"}, {"display_name": "Anna Neu"}),
        ({"display_name": "  Ａnna  Neu "}, {"display_name": "Anna Neu"}),
        ({"accepts_messages_from": "known"}, {"accepts_messages_from": "known"}),
        (
            {"display_name": "A", "accepts_messages_from": "nobody"},
            {"display_name": "A", "accepts_messages_from": "nobody"},
        ),
        ({}, {}),
        ({"handle": "another", "uuid": "another", "created_at": "now"}, {}),
    ],
)
def test_profile_changes_at_once_in_this_process(api: Api, body: dict[str, str], changed: dict[str, str]) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    before = ok(anna.get("/api/users/me"))
    response = change(anna, body)
    assert ok(response) == ok(anna.get("/api/users/me")) == before | changed
    assert response.headers["ETag"] == anna.get("/api/users/me").headers["ETag"]
    name = changed.get("display_name", "Anna")
    assert bert.messages(group)[0]["display_name"] == bert.inbox()[0]["display_name"] == name
    assert anna.reply("again", group=group)["display_name"] == name


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        *((body, ["body_invalid"]) for body in ([], "Anna", 1)),
        *(({"display_name": name}, ["display_name_blank"]) for name in ("", " ", "\u200b")),
        *(({"display_name": name}, ["display_name_invalid"]) for name in (None, 1, ["Anna"], "a" * 256, "a\0b")),
        *(({"accepts_messages_from": value}, ["accepts_messages_from_invalid"]) for value in (None, 1, [], {}, "all")),
        (
            {"display_name": "", "accepts_messages_from": "all"},
            ["display_name_blank", "accepts_messages_from_invalid"],
        ),
    ],
)
def test_invalid_change_changes_nothing(api: Api, body: Any, codes: list[str]) -> None:
    anna = api.sign_up("anna")
    before = ok(anna.get("/api/users/me"))
    assert refused(change(anna, body)) == (422, codes)
    assert ok(anna.get("/api/users/me")) == before


def test_change_with_another_etag_in_if_match_is_refused(api: Api) -> None:
    anna = api.sign_up("anna")
    etag = anna.get("/api/users/me").headers["ETag"]
    assert ok(change(anna, {"display_name": "First"}, **{"If-Match": etag}))["display_name"] == "First"
    for stale in (etag, f"W/{etag}", '"another"', f'{etag}, "another"'):
        response = change(anna, {"display_name": "Second"}, **{"If-Match": stale})
        assert refused(response) == (412, ["precondition_failed"])
    assert ok(anna.get("/api/users/me"))["display_name"] == "First"
    etag = anna.get("/api/users/me").headers["ETag"]
    assert ok(change(anna, {"display_name": "Third"}, **{"If-Match": f'"another", {etag}'}))["display_name"] == "Third"
    assert ok(change(anna, {"display_name": "Fourth"}, **{"If-Match": "*"}))["display_name"] == "Fourth"


def test_change_with_the_present_etag_in_if_none_match_is_refused(api: Api) -> None:
    anna = api.sign_up("anna")
    etag = anna.get("/api/users/me").headers["ETag"]
    for present in (etag, f"W/{etag}", "*"):
        response = change(anna, {"display_name": "Second"}, **{"If-None-Match": present})
        assert refused(response) == (412, ["precondition_failed"])
    assert anna.get("/api/users/me").headers["ETag"] == etag
    assert ok(change(anna, {"display_name": "Second"}, **{"If-None-Match": '"another"'}))["display_name"] == "Second"
    old = ok(change(anna, {"display_name": "Anna"}, **{"If-None-Match": etag}))  # the profile becomes this version
    assert old["display_name"] == "Anna"


def test_one_of_two_simultaneous_changes_wins(api: Api) -> None:
    for _ in range(5):
        anna = api.sign_up("anna")
        etag = anna.get("/api/users/me").headers["ETag"]

        def change_to(name: str, person: Person = anna, etag: str = etag) -> int:
            other = api.sign_in(person.user)
            return change(other, {"display_name": name}, **{"If-Match": etag}).status_code

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(change_to, ["A", "B", "C", "D"])) == [200, 412, 412, 412]


def test_user_without_a_row_has_no_profile(api: Api) -> None:
    anna = api.sign_up("anna")
    anna.get("/api/users/me")
    api.execute("DELETE FROM users WHERE uuid = %s", anna.user.uuid)
    assert refused(anna.get("/api/users/me")) == (403, ["user_not_found"])
    assert refused(change(anna, {"display_name": "Anna"})) == (403, ["user_not_found"])


def test_names_in_a_token_are_ignored(api: Api) -> None:
    anna, bert = api.couple()
    claims = {"preferred_username": bert.user.handle, "cognito:username": bert.user.handle, "name": "Bert"}
    authorization = api.issuer.authorization(f"sub-{anna.user.uuid}", **claims)
    forger = Person(anna.user, anna.client, authorization)
    profile = ok(forger.get("/api/users/me"))
    assert (profile["uuid"], profile["handle"], profile["display_name"]) == (anna.user.uuid, anna.user.handle, "Anna")


def test_public_profile_by_uuid_needs_no_token(api: Api) -> None:
    anna = api.sign_up("anna")
    expected = {"uuid": anna.user.uuid, "handle": anna.user.handle, "display_name": "Anna"}
    for spelling in (anna.user.uuid, anna.user.uuid.upper()):
        assert ok(anna.client.get(f"/api/users/{spelling}")) == expected
    for unknown in (str(uuid.uuid4()), "nobody", anna.user.uuid + "0", "@", "ME", "%00"):
        assert refused(anna.client.get(f"/api/users/{unknown}")) == (404, ["user_not_found"])
