"""The read state over HTTP: read positions, a conversation by itself, and the total of unread messages."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from lib.ddb.items import Member
from tests.support.api import Api, Person, ok, refused, run_api
from tests.support.stores import TableContents

api = pytest.fixture(scope="module")(run_api)


def write_messages(anna: Person, bert: Person, count: int) -> str:
    """Write so many messages of Anna; return the conversation's uuid."""
    return [anna.write(f"{number}", to=bert)["message_group_uuid"] for number in range(count)][0]


def read(person: Person, group: str, body: Any) -> TestResponse:
    data = json.dumps(body)  # orjson refuses NaN, which a client may send
    path = f"/api/message_groups/{group}/read"
    return person.client.post(path, data=data, content_type="application/json", headers=person.headers)


def unread(person: Person, group: str) -> TestResponse:
    return person.client.delete(f"/api/message_groups/{group}/read", headers=person.headers)


def counts(person: Person) -> list[int]:
    return [row["unread_count"] for row in person.inbox()]


def total(person: Person) -> int | str:
    return ok(person.get("/api/unread"))["unread_count"]


def test_mark_read_lowers_the_unread_count_and_the_total(api: Api) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 3)
    assert (counts(bert), total(bert), counts(anna), total(anna)) == ([3], 3, [0], 0)

    assert ok(read(bert, group, {"seq": 2})) == {"uuid": group, "seq": 3, "read_seq": 2, "unread_count": 1}
    assert (counts(bert), total(bert)) == ([1], 1)
    assert ok(read(bert, group, {"seq": 3})) == {"uuid": group, "seq": 3, "read_seq": 3, "unread_count": 0}
    assert (counts(bert), total(bert)) == ([0], 0)


def test_mark_unread_begins_at_the_others_last_message(api: Api) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 3)
    bert.reply("seen", group=group)
    assert (counts(bert), total(bert)) == ([0], 0)
    assert ok(unread(bert, group)) == {"uuid": group, "seq": 4, "read_seq": 2, "unread_count": 2}
    assert (counts(bert), total(bert)) == ([2], 2)
    assert counts(anna) == [1]


@pytest.mark.parametrize(("seq", "seqs"), [("-3", [0]), ("9" * 38, [])])
def test_impossible_number_in_a_row_reaches_no_client(api: Api, seq: str, seqs: list[int]) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 2)
    contents = TableContents(api.boto3, api.settings.ddb_table)
    [row] = contents.inbox(bert.user)
    contents.put({**row.to_item(), "seq": {"N": seq}})
    assert [row["seq"] for row in bert.inbox()] == seqs
    assert (counts(bert), total(bert)) == ([0] * len(seqs), 0)

    ok(read(bert, group, {"seq": 1}))
    assert [(row["seq"], row["unread_count"]) for row in bert.inbox()] == [(2, 1)]


def test_position_past_the_last_message_gives_no_negative_count(api: Api) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 1)
    contents = TableContents(api.boto3, api.settings.ddb_table)
    state = contents.conversation(group)
    members = {**state.members, bert.user.uuid: Member(bert.user, read_seq=9)}
    contents.put(replace(state, members=members).to_item())
    assert ok(read(bert, group, {"seq": 1}))["unread_count"] == 0


def test_conversation_has_the_read_positions_of_both_members(api: Api) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 2)
    first = anna.messages(group, order="asc")[0]
    read(bert, group, {"seq": 1})
    members = [
        {"user_uuid": user.uuid, "handle": user.handle, "display_name": user.display_name, "read_seq": read_seq}
        for user, read_seq in sorted(((anna.user, 2), (bert.user, 1)), key=lambda member: str(member[0].uuid))
    ]
    expected = {"uuid": group, "members": members, "seq": 2, "created_at": first["created_at"]}
    for person in (anna, bert):
        for group_uuid in (group, group.upper()):
            assert ok(person.get(f"/api/message_groups/{group_uuid}")) == expected


def test_conversation_shows_writes_of_other_processes(api: Api) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 1)
    anna.get(f"/api/message_groups/{group}")
    with api.variant() as other:
        other.sign_in(bert.user).reply("from elsewhere", group=group)
    assert ok(anna.get(f"/api/message_groups/{group}"))["seq"] == 2


def test_unread_total_stops_at_99(api: Api) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 60)
    write_messages(api.sign_up("carl"), bert, 39)
    assert total(bert) == 99
    anna.reply("one more", group=group)
    assert total(bert) == "99+"


@pytest.mark.parametrize(("body", "code"), [({"seq": float("nan")}, "seq_invalid"), ([], "body_invalid")])
def test_bad_position_is_refused(api: Api, body: Any, code: str) -> None:
    anna, bert = api.couple()
    assert refused(read(bert, write_messages(anna, bert, 1), body)) == (422, [code])
    assert counts(bert) == [1]


def test_stranger_reads_and_writes_nothing(api: Api) -> None:
    anna, bert = api.couple()
    group = write_messages(anna, bert, 2)
    stranger = api.sign_up()
    before = api.items()
    for unknown in (group, str(uuid.uuid4()), "x", "%20", "a" * 3000):
        responses = [
            stranger.get(f"/api/message_groups/{unknown}"),
            read(stranger, unknown, {"seq": 1}),
            unread(stranger, unknown),
        ]
        assert [refused(response) for response in responses] == [(404, ["message_group_not_found"])] * 3
    assert api.items() == before
