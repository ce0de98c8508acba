"""Pattern C over HTTP: to whom a message goes, what the answer says, and what the table then holds."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support.api import Api, Person, ok, refused, run_api

api = pytest.fixture(scope="module")(run_api)


def test_the_first_message_to_a_user_starts_a_conversation(api: Api) -> None:
    anna, bert = api.couple()
    sent = anna.write("hello", to=bert)
    group, message = uuid.UUID(sent["message_group_uuid"]), uuid.UUID(sent["uuid"])
    assert list(sent) == [
        *("message_group_uuid", "uuid", "user_uuid", "display_name", "handle", "message", "created_at", "seq")
    ]
    assert sent == {
        "message_group_uuid": str(group),
        "uuid": str(message),
        "user_uuid": anna.user.uuid,
        "display_name": "Anna",
        "handle": anna.user.handle,
        "message": "hello",
        "created_at": sent["created_at"],
        "seq": 1,
    }
    assert [row["uuid"] for row in anna.inbox() + bert.inbox()] == [str(group)] * 2


def test_a_message_to_a_group_goes_there(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    reply = bert.answer("hello yourself", group=group)
    assert (reply["message_group_uuid"], reply["handle"], reply["seq"]) == (group, bert.user.handle, 2)
    assert [row["message"] for row in anna.inbox() + bert.inbox()] == ["hello yourself"] * 2


def test_a_pair_that_talks_already_stays_in_one_conversation(api: Api) -> None:
    anna, bert = api.couple()
    sent = [anna.write("1", to=bert), bert.write("2", to=anna), anna.write("3", to=bert)]
    assert len({each["message_group_uuid"] for each in sent}) == 1
    assert [each["seq"] for each in sent] == [1, 2, 3]
    with api.variant() as cold:  # a process that knows nothing of them
        again = cold.sign_in(bert.user).write("4", to=anna)
    assert (again["message_group_uuid"], again["seq"]) == (sent[0]["message_group_uuid"], 4)
    assert len(anna.inbox()) == len(bert.inbox()) == 1


def test_two_who_write_to_each_other_first_at_once_are_in_one_conversation(api: Api) -> None:
    with api.variant() as other, ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            anna, bert = api.couple()
            elsewhere = other.sign_in(bert.user)
            pairs = [(anna, bert), (elsewhere, anna), (anna, bert), (bert, anna)]
            sent = list(threads.map(lambda pair: pair[0].write("hello", to=pair[1]), pairs))
            assert len({each["message_group_uuid"] for each in sent}) == 1
            assert sorted(each["seq"] for each in sent) == [1, 2, 3, 4]


def test_unread_counts_the_others_messages_since_ones_own(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("1", to=bert)["message_group_uuid"]
    anna.answer("2", group=group)
    assert (anna.inbox()[0]["unread_count"], bert.inbox()[0]["unread_count"]) == (0, 2)
    bert.answer("3", group=group)
    assert (anna.inbox()[0]["unread_count"], bert.inbox()[0]["unread_count"]) == (1, 0)


@pytest.mark.parametrize("spaces", ["", " "])
def test_a_handle_may_stand_between_spaces(api: Api, spaces: str) -> None:
    anna, bert = api.couple()
    sent = ok(anna.post({"message": "hello", "handle": f"{spaces}{bert.user.handle}{spaces}"}))
    assert sent["seq"] == 1


def test_a_null_receiver_is_one_that_is_not_given(api: Api) -> None:
    anna, bert = api.couple()
    by_handle = ok(anna.post({"message": "1", "handle": bert.user.handle, "message_group_uuid": None}))
    group = by_handle["message_group_uuid"]
    assert ok(anna.post({"message": "2", "handle": None, "message_group_uuid": group}))["seq"] == 2


def test_writing_to_oneself_is_refused(api: Api) -> None:
    anna = api.sign_up("anna")
    assert_refused(api, anna, {"handle": anna.user.handle}, 422, "receiver_is_sender")


@pytest.mark.parametrize("handle", ["nobody", "a\0b", "\ud800", "x" * 256, "x" * 9000, "%", "'; DROP TABLE users; --"])
def test_an_unknown_handle_is_refused(api: Api, handle: str) -> None:
    assert_refused(api, api.sign_up(), {"handle": handle}, 404, "receiver_not_found")


def test_a_handle_is_taken_exactly(api: Api) -> None:
    bert = api.sign_up("bert")
    assert_refused(api, api.sign_up(), {"handle": bert.user.handle.upper()}, 404, "receiver_not_found")


def test_an_unknown_group_is_refused(api: Api) -> None:
    assert_refused(api, api.sign_up(), {"message_group_uuid": str(uuid.uuid4())}, 404, "message_group_not_found")


def test_a_group_of_others_is_refused(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    assert_refused(api, api.sign_up(), {"message_group_uuid": group}, 404, "message_group_not_found")


@pytest.mark.parametrize(
    ("receiver", "code"),
    [
        ({}, "user_receiver_handle_blank"),
        ({"handle": None}, "user_receiver_handle_blank"),
        ({"handle": ""}, "user_receiver_handle_blank"),
        ({"handle": " \t\n"}, "user_receiver_handle_blank"),
        ({"handle": 7}, "user_receiver_handle_invalid"),
        ({"handle": ["bert"]}, "user_receiver_handle_invalid"),
        ({"handle": False}, "user_receiver_handle_invalid"),
        ({"message_group_uuid": ""}, "message_group_uuid_blank"),
        ({"message_group_uuid": "x"}, "message_group_uuid_invalid"),
        ({"message_group_uuid": " "}, "message_group_uuid_invalid"),
        ({"message_group_uuid": 0}, "message_group_uuid_invalid"),
        ({"message_group_uuid": {}}, "message_group_uuid_invalid"),
        ({"message_group_uuid": "x" * 9000}, "message_group_uuid_invalid"),
        ({"message_group_uuid": "\ud800"}, "message_group_uuid_invalid"),
        ({"message_group_uuid": f"{uuid.UUID(int=1)}\n"}, "message_group_uuid_invalid"),
        ({"message_group_uuid": str(uuid.UUID(int=1)), "handle": "bert"}, "receiver_ambiguous"),
        ({"message_group_uuid": "", "handle": ""}, "receiver_ambiguous"),
    ],
)
def test_a_bad_receiver_is_refused(api: Api, receiver: dict[str, object], code: str) -> None:
    assert_refused(api, api.sign_up(), receiver, 422, code)


def test_everything_that_is_wrong_is_told_at_once(api: Api) -> None:
    answer = api.sign_up().post({"message": "", "message_group_uuid": "x"})
    assert refused(answer) == (422, ["message_blank", "message_group_uuid_invalid"])


def test_who_is_renamed_writes_under_the_new_name(api: Api) -> None:
    anna, bert = api.couple()
    anna.write("hello", to=bert)
    with psycopg.connect(api.settings.database_url) as connection:
        connection.execute("UPDATE users SET display_name = 'Annabel' WHERE uuid = %s", (anna.user.uuid,))
    with api.variant() as later:
        assert later.sign_in(anna.user).write("it is me", to=bert)["display_name"] == "Annabel"
    assert bert.inbox()[0]["display_name"] == "Annabel"


def assert_refused(api: Api, sender: Person, receiver: dict[str, object], status: int, code: str) -> None:
    """The message is refused with this code, and the table is as it was."""
    before = api.items()
    assert refused(sender.post({"message": "hello", **receiver})) == (status, [code])
    assert api.items() == before
