"""Corruptions of a sound table, each with the codes of the items that then differ from what they should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lib.ddb import keys
from lib.ddb.items import Conversation, Item, Member, PairGuard, pair_key, wire_key
from lib.users.directory import User
from tests.support.doctor_fixtures import change, cognito_id_of, email_of
from tests.support.old_data import TIMES, old_message, old_row
from tests.support.stores import ANNA, BERT, CARL, TableContents
from tools.doctor.findings import Code

OTHER = "00000000-55d1-47a0-bc6d-fe2bc2700399"
NOBODY = User("99999999-0000-4000-8000-000000000009", "nobody", "Nobody")
GONE = object()
"""The value of an attribute that is removed."""

Corrupt = Callable[[TableContents, str], None]
Edit = Callable[[Item], Any]


@dataclass(frozen=True)
class Corruption:
    """What it does, what the doctor finds, and whether the repair restores the table as it was."""

    codes: set[Code]
    corrupt: Corrupt
    restored: bool = False


def state(edit: Edit) -> Corrupt:
    return lambda contents, group: change(contents, keys.conversation_pk(group), edit)


def message(edit: Edit, *, at: int = 0) -> Corrupt:
    return lambda contents, group: change(contents, keys.message_pk(group), edit, at=at)


def receipt(edit: Edit) -> Corrupt:
    return lambda contents, _: change(contents, keys.receipt_pk(ANNA.uuid, "a key"), edit)


def row_of_anna(edit: Edit) -> Corrupt:
    def corrupt(contents: TableContents, group: str) -> None:
        [row] = [row for row in contents.partition(keys.inbox_pk(ANNA.uuid)) if row["message_group_uuid"]["S"] == group]
        contents.remove(wire_key(row))
        edit(row)
        contents.put(row)

    return corrupt


def position(user: User, read_seq: int) -> Corrupt:
    return state(lambda item: item["members"]["M"][user.uuid]["M"].update(read_seq={"N": str(read_seq)}))


def added(*items: Item) -> Corrupt:
    return lambda contents, _: contents.put(*items)


def attributes(**values: Any) -> Edit:
    """Sets attributes by their wire form, or removes them."""

    def edit(item: Item) -> None:
        item.update(values)
        for name in [name for name, value in values.items() if value is GONE]:
            del item[name]

    return edit


def guard(*pair: User, group: str) -> Item:
    return {**pair_key(*(user.uuid for user in pair)), "group_uuid": {"S": group}}


def rows(*pair: User, text: str = "", **numbers: str) -> list[Item]:
    """Both rows of another conversation."""
    numbered = {name: {"N": number} for name, number in numbers.items()}
    return [{**old_row(owner, TIMES[0], other, text, group=OTHER), **numbered} for owner, other in (pair, pair[::-1])]


def empty_conversation(*pair: User) -> list[Item]:
    """Another conversation, without messages: its state and rows."""
    members = {user.uuid: Member(user, read_seq=0) for user in pair}
    conversation = Conversation(OTHER, members, last_message_at=TIMES[0], seq=0, version=1, created_at=TIMES[0])
    return [conversation.to_item(), *rows(*pair, seq="0", read_seq="0")]


def remove_second_message(contents: TableContents, group: str) -> None:
    contents.remove(wire_key(contents.partition(keys.message_pk(group))[1]))


def name_a_third_member(contents: TableContents, group: str) -> None:
    state(lambda item: item["members"]["M"].update({CARL.uuid: item["members"]["M"][ANNA.uuid]}))(contents, group)


def put_message_into_index(contents: TableContents, group: str) -> None:
    message(attributes(message_group_uuid={"S": group}))(contents, group)


def put_message_without_time(contents: TableContents, group: str) -> None:
    contents.put(old_message("yesterday", ANNA, "when?", group=group))


def put_guard_in_wrong_order(contents: TableContents, group: str) -> None:
    contents.put({"pk": {"S": f"PAIR#{BERT.uuid}#{ANNA.uuid}"}, "sk": {"S": "STATE"}, "group_uuid": {"S": group}})


def put_uncounted_message(contents: TableContents, group: str) -> None:
    contents.put(old_message("2026-01-02T13:00:00.000000+00:00", ANNA, "six", group=group))


def put_doubled_rows(contents: TableContents, group: str) -> None:
    times = (f"2022-01-01T00:00:00.{number:06}+00:00" for number in range(120))
    contents.put(*(old_row(ANNA, time, BERT, "a double", group=group) for time in times))


def put_row_of_carl(contents: TableContents, group: str) -> None:
    contents.put(old_row(CARL, "2026-01-02T12:00:04.000000+00:00", BERT, "five", group=group))


def put_guard_of_others(contents: TableContents, group: str) -> None:
    contents.put(guard(BERT, CARL, group=group))


def put_old_conversation(contents: TableContents, group: str = "") -> None:
    contents.put(old_message(TIMES[0], CARL, "old", group=OTHER), *rows(BERT, CARL, text="filler"))


MALFORMED, ATTRIBUTES, PRIVATE = {Code.ITEM_MALFORMED}, {Code.ITEM_ATTRIBUTES}, {Code.PRIVATE_DATA}
MISSING, NUMBERS = {Code.STATE_MISSING}, {Code.MESSAGE_NUMBERS}
STATE, ROW, PAIR = {Code.CONVERSATION_STATE}, {Code.INBOX_ROW}, {Code.PAIR_GUARD}

corruptions: dict[str, Corruption] = {
    "an item of no kind": Corruption(MALFORMED, added({"pk": {"S": "USER#1"}, "sk": {"S": "STATE"}})),
    "a message without its uuid": Corruption(MALFORMED, message(attributes(message_uuid=GONE), at=1)),
    "a state of three members": Corruption(MALFORMED, name_a_third_member),
    "a number that is not whole": Corruption(MALFORMED, state(attributes(version={"N": "5.5"}))),
    "a message at no time": Corruption(MALFORMED, put_message_without_time),
    "a guard in the wrong order": Corruption(MALFORMED, put_guard_in_wrong_order),
    "a receipt without its answer": Corruption(MALFORMED, receipt(attributes(answer=GONE))),
    "a receipt of another user": Corruption(
        MALFORMED, receipt(lambda item: item["answer"]["M"].update(user_uuid={"S": BERT.uuid}))
    ),
    "an e-mail address in a message": Corruption(
        PRIVATE, message(attributes(sent_by={"S": f"Anna <{email_of(ANNA)}>"}))
    ),
    "a Cognito id in a list": Corruption(PRIVATE, message(attributes(read_by={"L": [{"S": cognito_id_of(BERT)}]}))),
    "an e-mail address of nobody": Corruption(PRIVATE, state(attributes(contact={"S": "of-nobody@elsewhere.test"}))),
    "a message without names": Corruption(
        ATTRIBUTES, message(attributes(user_handle=GONE, user_display_name={"NULL": True})), restored=True
    ),
    "a row without names": Corruption(
        ATTRIBUTES, row_of_anna(attributes(user_handle=GONE, user_display_name=GONE)), restored=True
    ),
    "a message in the index": Corruption(ATTRIBUTES, put_message_into_index, restored=True),
    "a conversation of an unknown user": Corruption(
        {Code.USER_UNKNOWN},
        added(PairGuard((ANNA.uuid, NOBODY.uuid), OTHER).to_item(), *empty_conversation(ANNA, NOBODY)),
    ),
    "an old conversation": Corruption({Code.NOT_MIGRATED}, put_old_conversation),
    "rows that name three users": Corruption(MISSING, added(rows(ANNA, BERT)[0], rows(CARL, ANNA)[0])),
    "messages alone": Corruption(MISSING, added(*(old_message(at, ANNA, at, group=OTHER) for at in TIMES))),
    "rows alone": Corruption(MISSING, added(*rows(BERT, CARL, text="last words", seq="7", read_seq="7"))),
    "a message without a number": Corruption(NUMBERS, message(attributes(seq=GONE), at=2), restored=True),
    "a message that was never counted": Corruption(NUMBERS, put_uncounted_message),
    "two messages of one number": Corruption(NUMBERS, message(attributes(seq={"N": "2"}), at=3), restored=True),
    "a message that is gone": Corruption(NUMBERS | STATE | ROW, remove_second_message),
    "numbers that go on too high": Corruption(NUMBERS, message(attributes(seq={"N": "1000"}), at=4), restored=True),
    "a message of a non-member": Corruption({Code.SENDER_NOT_MEMBER}, message(attributes(user_uuid={"S": CARL.uuid}))),
    "a state that counts wrong": Corruption(STATE, state(attributes(seq={"N": "7"})), restored=True),
    "a state that is ahead": Corruption(
        STATE, state(attributes(last_message_at={"S": "2026-01-02T12:00:09.000000+00:00"})), restored=True
    ),
    "a state that is behind": Corruption(
        STATE, state(attributes(last_message_at={"S": "2026-01-02T12:00:00.000000+00:00"})), restored=True
    ),
    "a position past the end": Corruption(STATE, position(BERT, 8), restored=True),
    "a member without a row": Corruption(
        ROW, lambda contents, _: contents.remove(contents.inbox(BERT)[0].key()), restored=True
    ),
    "a member with 120 rows": Corruption(ROW, put_doubled_rows, restored=True),
    "a row that was left behind": Corruption(
        ROW, row_of_anna(attributes(sk={"S": "2026-01-02T12:00:01.000000+00:00"})), restored=True
    ),
    "a row left ahead": Corruption(
        ROW, row_of_anna(attributes(sk={"S": "2026-01-02T12:00:09.000000+00:00"})), restored=True
    ),
    "a row with another text": Corruption(ROW, row_of_anna(attributes(message={"S": "a filler"})), restored=True),
    "a row with another sender": Corruption(ROW, row_of_anna(attributes(sender_uuid={"S": ANNA.uuid})), restored=True),
    "a row that counts wrong": Corruption(ROW, row_of_anna(attributes(seq={"N": "6"})), restored=True),
    "a row with another name": Corruption(ROW, row_of_anna(attributes(user_handle={"S": "bertram"})), restored=True),
    "a row of a non-member": Corruption(ROW, put_row_of_carl, restored=True),
    "a row with another position": Corruption(ROW, row_of_anna(attributes(read_seq={"N": "1"})), restored=True),
    "no guard": Corruption(PAIR, lambda contents, _: contents.remove(pair_key(ANNA.uuid, BERT.uuid)), restored=True),
    "a guard that leads nowhere": Corruption(PAIR, added(guard(ANNA, BERT, group=OTHER)), restored=True),
    "a guard of two who never talked": Corruption(PAIR, added(guard(BERT, CARL, group=OTHER)), restored=True),
    "a guard that leads to others": Corruption(PAIR, put_guard_of_others, restored=True),
    "a link to no conversation": Corruption(PAIR, state(attributes(pair_group_uuid={"S": OTHER})), restored=True),
    "two conversations of a pair": Corruption(PAIR, added(*empty_conversation(ANNA, BERT))),
}
