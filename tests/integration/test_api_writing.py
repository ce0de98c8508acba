"""Pattern C over HTTP: receivers, responses and refusals."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from lib.postgres.database import Database
from lib.postgres.errors import DatabaseUnavailable
from tests.support.api import Api, Person, ok, refused, run_api

api = pytest.fixture(scope="module")(run_api)


def fullwidth(text: str) -> str:
    """The ASCII text in the characters of another width."""
    return "".join(chr(ord(char) + 0xFEE0) for char in text)


def test_first_message_to_a_user_starts_a_conversation(api: Api) -> None:
    anna, bert = api.couple()
    sent = anna.write("hello", to=bert)
    group, message = uuid.UUID(sent["message_group_uuid"]), uuid.UUID(sent["uuid"])
    expected = {
        "message_group_uuid": str(group),
        "uuid": str(message),
        "user_uuid": anna.user.uuid,
        "display_name": "Anna",
        "handle": anna.user.handle,
        "message": "hello",
        "created_at": sent["created_at"],
        "seq": 1,
    }
    assert list(sent.items()) == list(expected.items())
    assert [row["uuid"] for row in anna.inbox() + bert.inbox()] == [str(group)] * 2


def test_two_users_have_one_conversation(api: Api) -> None:
    anna, bert = api.couple()
    first = anna.write("1", to=bert)
    group = first["message_group_uuid"]
    sent = [first, bert.reply("2", group=group), anna.write("3", to=bert)]
    with api.variant() as cold:  # a process with empty caches
        sent.append(cold.sign_in(bert.user).write("4", to=anna))
    assert [(message["message_group_uuid"], message["seq"]) for message in sent] == [
        (group, seq) for seq in range(1, 5)
    ]
    assert [message["handle"] for message in sent] == [anna.user.handle, bert.user.handle] * 2
    assert [row["message"] for row in anna.inbox() + bert.inbox()] == ["4", "4"]


def test_simultaneous_first_messages_share_one_conversation(api: Api) -> None:
    with api.variant() as other, ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            anna, bert = api.couple()
            bert_at_other = other.sign_in(bert.user)
            pairs = [(anna, bert), (bert_at_other, anna), (anna, bert), (bert, anna)]
            sent = list(threads.map(lambda pair: pair[0].write("hello", to=pair[1]), pairs))
            assert len({message["message_group_uuid"] for message in sent}) == 1
            assert sorted(message["seq"] for message in sent) == [1, 2, 3, 4]


def test_message_to_oneself_is_refused(api: Api) -> None:
    anna = api.sign_up("anna")
    assert_refused(api, anna, {"handle": anna.user.handle}, 422, "receiver_is_sender")


@pytest.mark.parametrize("handle", ["nobody", "a\0b", "\ud800", "x" * 256, "x" * 9000, "%", "'; DROP TABLE users; --"])
def test_unknown_handle_is_refused(api: Api, handle: str) -> None:
    assert_refused(api, api.sign_up(), {"handle": handle}, 404, "receiver_not_found")


@pytest.mark.parametrize("spell", [str.upper, str.title, fullwidth], ids=["upper", "title", "fullwidth"])
def test_every_spelling_of_a_handle_reaches_its_user(api: Api, spell: Callable[[str], str]) -> None:
    anna, bert = api.couple()
    handle = spell(bert.user.handle)
    sent = ok(anna.post({"handle": handle, "message": "hello"}))
    assert [row["uuid"] for row in bert.inbox()] == [sent["message_group_uuid"]]
    assert ok(anna.get(f"/api/users/@{handle}/short"))["handle"] == bert.user.handle
    assert_refused(api, bert, {"handle": handle}, 422, "receiver_is_sender")


def test_handle_that_was_given_up_receives_no_message(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    with api.variant() as other, psycopg.connect(api.database_url, autocommit=True) as connection:
        anna_at_other = other.sign_in(anna.user)
        anna_at_other.write("again", to=bert)
        connection.execute("UPDATE users SET handle = 'x-' || handle WHERE uuid = %s", [bert.user.uuid])
        for sender in (anna, anna_at_other):
            assert_refused(api, sender, {"handle": bert.user.handle}, 404, "receiver_not_found")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("UPDATE users SET handle = %s WHERE uuid = %s", [bert.user.handle, anna.user.uuid])
    assert anna.reply("still here", group=group)["seq"] == 3


def test_unknown_group_and_foreign_group_get_the_same_refusal(api: Api) -> None:
    anna, bert = api.couple()
    for group in (anna.write("hello", to=bert)["message_group_uuid"], str(uuid.uuid4())):
        assert_refused(api, api.sign_up(), {"message_group_uuid": group}, 404, "message_group_not_found")


@pytest.mark.parametrize("mode", ["inline", "stream"])
def test_receiver_without_a_row_is_refused_by_handle_and_by_group(api: Api, mode: str) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    remove_row(api, bert)
    with api.variant(group_updates=mode) as cold:
        for receiver in ({"handle": bert.user.handle}, {"message_group_uuid": group}):
            assert_refused(api, cold.sign_in(anna.user), receiver, 404, "receiver_not_found")
    assert [row["message"] for row in anna.messages(group)] == ["hello"]


def test_cached_receiver_costs_no_query_and_a_new_process_one_read_of_the_state(api: Api) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]
    with api.variant() as cold:
        sender = cold.sign_in(anna.user)
        for operations, queries in ((["GetItem", "TransactWriteItems"], True), (["TransactWriteItems"], False)):
            with cold.wire() as calls:
                sender.reply("again", group=group)
            assert [call.operation for call in calls] == operations
            assert bool(cold.lines()[-1]["postgres_requests"]) == queries


def test_message_to_a_group_needs_no_postgres(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, bert = api.couple()
    group = anna.write("hello", to=bert)["message_group_uuid"]

    def fail(*_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(Database, "_run", fail)
    assert refused(anna.post({"message": "by handle", "handle": bert.user.handle})) == (503, ["storage_unavailable"])
    assert anna.reply("by group", group=group)["seq"] == 2


def test_renamed_user_writes_under_the_new_name(api: Api) -> None:
    anna, bert = api.couple()
    anna.write("hello", to=bert)
    api.execute("UPDATE users SET display_name = 'Annabel' WHERE uuid = %s", anna.user.uuid)
    with api.variant() as later:
        assert later.sign_in(anna.user).write("it is me", to=bert)["display_name"] == "Annabel"
        assert later.sign_in(bert.user).inbox()[0]["display_name"] == "Annabel"


def remove_row(api: Api, person: Person) -> None:
    api.execute("DELETE FROM users WHERE uuid = %s", person.user.uuid)


def assert_refused(api: Api, sender: Person, receiver: dict[str, object], status: int, code: str) -> None:
    """Assert that the API refuses the message with this code and writes nothing."""
    before = api.items()
    assert refused(sender.post({"message": "hello", **receiver})) == (status, [code])
    assert api.items() == before
