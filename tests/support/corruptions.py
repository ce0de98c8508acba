"""Corruptions of a sound table, each with the codes of the doctor's findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lib.ddb import keys
from lib.ddb.items import Block, Conversation, Item, Member, PairGuard, block_key, late_updates_key, pair_key, wire_key
from lib.users.accounts import User
from tests.support.doctor_fixtures import cognito_id_of, email_of
from tests.support.old_data import TIMES, old_message, old_row
from tests.support.stores import ANNA, BERT, CARL, DORA, TableContents, after_start
from tools.doctor.findings import Code

OTHER = "00000000-55d1-47a0-bc6d-fe2bc2700399"
NOBODY = User("99999999-0000-4000-8000-000000000009", "nobody", "Nobody")
GONE = object()
"""The value of an attribute that is removed."""

Corrupt = Callable[[TableContents, str], None]
Edit = Callable[[Item], Any]


@dataclass(frozen=True)
class Corruption:
    """Its effect on a table, the codes of the findings, and whether the repair restores the table."""

    codes: set[Code]
    corrupt: Corrupt
    restored: bool = False


def change(pk_of: Callable[[str], str], edit: Edit, index: int = 0) -> Corrupt:
    """Rewrite one item of the partition that belongs to the conversation."""

    def corrupt(contents: TableContents, group: str) -> None:
        item = contents.partition(pk_of(group))[index]
        edit(item)
        contents.put(item)

    return corrupt


def state(edit: Edit) -> Corrupt:
    return change(keys.conversation_pk, edit)


def message(edit: Edit, *, index: int = 0) -> Corrupt:
    return change(keys.message_pk, edit, index)


def receipt(edit: Edit) -> Corrupt:
    return change(lambda _: keys.receipt_pk(ANNA.uuid, "a key"), edit)


def row_of_anna(edit: Edit) -> Corrupt:
    def corrupt(contents: TableContents, group: str) -> None:
        [row] = [row for row in contents.rows(ANNA.uuid) if row["message_group_uuid"]["S"] == group]
        contents.remove(wire_key(row))
        edit(row)
        contents.put(row)

    return corrupt


def position(user: User, read_seq: int) -> Corrupt:
    return state(lambda item: item["members"]["M"][user.uuid]["M"].update(read_seq={"N": str(read_seq)}))


def added(*items: Item) -> Corrupt:
    return lambda contents, _: contents.put(*items)


def added_to(item_of: Callable[[str], Item]) -> Corrupt:
    """Put an item that depends on the conversation's uuid."""
    return lambda contents, group: contents.put(item_of(group))


def attributes(**values: Any) -> Edit:
    """Sets attributes by their wire form, or removes them."""

    def edit(item: Item) -> None:
        item.update(values)
        for name in [name for name, value in values.items() if value is GONE]:
            del item[name]

    return edit


def late_updates(count: Any) -> Item:
    """Anna's late updates."""
    item = {**late_updates_key(ANNA.uuid), "updated_at": {"S": after_start(9)}}
    return item if count is GONE else {**item, "late_updates": count}


def guard(*pair: User, group: str) -> Item:
    return {**pair_key(*(user.uuid for user in pair)), "group_uuid": {"S": group}}


def blocks_in_guard(*pair: User, by: User) -> Item:
    return {**pair_key(*(user.uuid for user in pair)), "blocks": {"SS": [by.uuid]}}


def listed_block(edit: Edit) -> Corrupt:
    """Rewrite Anna's block of Carl in her list."""
    return change(lambda _: keys.block_pk(ANNA.uuid), edit)


def lose_block_of_conversation(contents: TableContents, _: str) -> None:
    """The conversation of Anna and Carl, which her row and her list still show as blocked."""
    [row] = [row for row in contents.inbox(ANNA) if row.other == CARL]
    contents.put(contents.conversation(row.group_uuid).with_blocks(()).to_item())


def move_block_to_second_conversation(contents: TableContents, _: str) -> None:
    """As if the guard had named an empty second conversation of Anna and Carl when Carl blocked Anna."""
    [row] = [row for row in contents.inbox(ANNA) if row.other == CARL]
    second, *rows = empty_conversation(ANNA, CARL)
    second["pair_group_uuid"] = {"S": row.group_uuid}
    second["blocks"] = {"SS": [CARL.uuid]}
    contents.put(second, *rows)


def guard_in_wrong_order(group: str) -> Item:
    return {**guard(ANNA, BERT, group=group), "pk": {"S": f"PAIR#{BERT.uuid}#{ANNA.uuid}"}}


def rows(*pair: User, text: str = "", **numbers: str) -> list[Item]:
    """Both rows of another conversation."""
    numbered = {name: {"N": number} for name, number in numbers.items()}
    return [{**old_row(owner, TIMES[0], other, text, group=OTHER), **numbered} for owner, other in (pair, pair[::-1])]


def empty_conversation(*pair: User) -> list[Item]:
    """Another conversation, without messages: its state and rows."""
    members = {user.uuid: Member(user, read_seq=0, last_seq=0) for user in pair}
    conversation = Conversation(OTHER, members, last_message_at=TIMES[0], seq=0, version=1, created_at=TIMES[0])
    return [conversation.to_item(), *rows(*pair, seq="0", read_seq="0")]


def remove_second_message(contents: TableContents, group: str) -> None:
    contents.remove(wire_key(contents.partition(keys.message_pk(group))[1]))


def repeat_a_uuid(contents: TableContents, group: str) -> None:
    first, second, *_ = contents.partition(keys.message_pk(group))
    contents.put({**second, "message_uuid": first["message_uuid"]})


def name_a_third_member(item: Item) -> None:
    members = item["members"]["M"]
    members[CARL.uuid] = members[ANNA.uuid]


def put_doubled_rows(contents: TableContents, group: str) -> None:
    sort_keys = (f"2022-01-01T00:00:00.{number:06}+00:00" for number in range(120))
    contents.put(*(old_row(ANNA, sk, BERT, "a double", group=group) for sk in sort_keys))


def run_bootcamp_function(contents: TableContents, group: str) -> None:
    """Replace the rows as the bootcamp's stream function does, for the last message and once more for an older one."""
    *_, older, last = contents.partition(keys.message_pk(group))
    for message in (last, older):
        for row in contents.items():
            if row.get("message_group_uuid") == {"S": group}:
                if message is last:
                    contents.remove(wire_key(row))
                kept = ("pk", "message_group_uuid", "user_uuid", "user_handle", "user_display_name")
                contents.put({**{name: row[name] for name in kept}, "sk": message["sk"], "message": message["message"]})


def put_into_index(item: Item) -> None:
    item["message_group_uuid"] = {"S": keys.message_group(item["pk"]["S"])}


old_conversation = [old_message(TIMES[0], CARL, "old", group=OTHER), *rows(BERT, CARL, text="filler")]
unknown_user = [PairGuard((ANNA.uuid, NOBODY.uuid), OTHER).to_item(), *empty_conversation(ANNA, NOBODY)]

lost: dict[Code, dict[str, Corrupt]] = {
    Code.ITEM_MALFORMED: {
        "an item of no kind": added({"pk": {"S": "USER#1"}, "sk": {"S": "STATE"}}),
        "a message without its uuid": message(attributes(message_uuid=GONE), index=1),
        "a state of three members": state(name_a_third_member),
        "a number that is not whole": state(attributes(version={"N": "5.5"})),
        "a message without a time": added_to(lambda group: old_message("yesterday", ANNA, "when?", group=group)),
        "a counted message without a time": added_to(
            lambda group: {**old_message("March 1", ANNA, "when?", group=group), "seq": {"N": "3"}}
        ),
        "a row without a time": added_to(lambda group: old_row(ANNA, "March 1", BERT, "when?", group=group)),
        "a block by a user who is no member": state(attributes(blocks={"SS": [CARL.uuid]})),
        "a block by a third user": added(blocks_in_guard(BERT, CARL, by=ANNA)),
        "a listed block without a time": listed_block(attributes(created_at=GONE)),
        "a listed block of another user": listed_block(attributes(user_uuid={"S": BERT.uuid})),
        "late updates without a number": added(late_updates(GONE)),
        "late updates that count nothing": added(late_updates({"N": "0"})),
        "late updates without a time": added({**late_updates({"N": "1"}), "updated_at": {"S": "March 1"}}),
        "a guard in the wrong order": added_to(guard_in_wrong_order),
        "a receipt without its answer": receipt(attributes(answer=GONE)),
        "a receipt of another user": receipt(lambda item: item["answer"]["M"].update(user_uuid={"S": BERT.uuid})),
    },
    Code.PRIVATE_DATA: {
        "an e-mail address in a message": message(attributes(sent_by={"S": f"Anna <{email_of(ANNA)}>"})),
        "a Cognito id in a list": message(attributes(read_by={"L": [{"S": cognito_id_of(BERT)}]})),
        "an e-mail address of nobody": state(attributes(contact={"S": "of-nobody@elsewhere.test"})),
    },
    Code.USER_UNKNOWN: {"a conversation of an unknown user": added(*unknown_user)},
    Code.NOT_MIGRATED: {"an old conversation": added(*old_conversation)},
    Code.STATE_MISSING: {
        "rows that name three users": added(rows(ANNA, BERT)[0], rows(CARL, ANNA)[0]),
        "messages alone": added(*(old_message(sk, ANNA, sk, group=OTHER) for sk in TIMES)),
        "rows alone": added(*rows(BERT, CARL, text="last words", seq="7", read_seq="7")),
    },
    Code.SENDER_NOT_MEMBER: {"a message of a non-member": message(attributes(user_uuid={"S": CARL.uuid}))},
    Code.MESSAGE_TWINS: {"two messages of one uuid": repeat_a_uuid},
    Code.MESSAGE_NUMBERS: {
        "a message that was never counted": added_to(
            lambda group: old_message(after_start(9), ANNA, "six", group=group)
        ),
    },
    Code.PAIR_GUARD: {"two conversations of a pair": added(*empty_conversation(ANNA, BERT))},
    Code.BLOCKS: {
        "a block that is not in the list": lambda contents, _: contents.remove(block_key(ANNA.uuid, CARL.uuid)),
        "a block in a guard that is not in the list": lambda contents, _: contents.remove(
            block_key(BERT.uuid, DORA.uuid)
        ),
    },
}
"""These lose or add data: no repair makes the table what it was."""

restored: dict[Code, dict[str, Corrupt]] = {
    Code.ITEM_ATTRIBUTES: {
        "a message without names": message(attributes(user_handle=GONE, user_display_name={"NULL": True})),
        "a row without names": row_of_anna(attributes(user_handle=GONE, user_display_name=GONE)),
        "a message in the index": message(put_into_index),
        "a listed block without names": listed_block(attributes(user_handle=GONE, user_display_name=GONE)),
    },
    Code.MESSAGE_NUMBERS: {
        "a message without a number": message(attributes(seq=GONE), index=2),
        "two messages of one number": message(attributes(seq={"N": "2"}), index=3),
        "numbers that go on too high": message(attributes(seq={"N": "1000"}), index=4),
    },
    Code.CONVERSATION_STATE: {
        "a state that counts wrong": state(attributes(seq={"N": "7"})),
        "a state that is ahead": state(attributes(last_message_at={"S": after_start(9)})),
        "a state that is behind": state(attributes(last_message_at={"S": after_start(0)})),
        "a member with another last message": state(
            lambda item: item["members"]["M"][BERT.uuid]["M"].update(last_seq={"N": "1"})
        ),
        "a position past the end": position(BERT, 8),
    },
    Code.INBOX_ROW: {
        "a member without a row": lambda contents, _: contents.remove(contents.inbox(BERT)[0].key()),
        "a row that was left behind": row_of_anna(attributes(sk={"S": after_start(1)})),
        "a row left ahead": row_of_anna(attributes(sk={"S": after_start(9)})),
        "a row with another text": row_of_anna(attributes(message={"S": "a filler"})),
        "a row with another sender": row_of_anna(attributes(sender_uuid={"S": ANNA.uuid})),
        "a row that counts wrong": row_of_anna(attributes(seq={"N": "6"})),
        "a row with another name": row_of_anna(attributes(user_handle={"S": "bertram"})),
        "a row with a block of nobody": row_of_anna(attributes(blocks={"BOOL": True})),
        "a row with another position": row_of_anna(attributes(read_seq={"N": "1"})),
    },
    Code.ROW_WITHOUT_NUMBERS: {
        "a member with 120 rows": put_doubled_rows,
        "a row of a non-member": added_to(lambda group: old_row(CARL, after_start(4), BERT, "five", group=group)),
        "rows by the stream function of the bootcamp": run_bootcamp_function,
    },
    Code.PAIR_GUARD: {
        "no guard": lambda contents, _: contents.remove(pair_key(ANNA.uuid, BERT.uuid)),
        "a guard that leads nowhere": added(guard(ANNA, BERT, group=OTHER)),
        "a guard of two strangers": added(guard(BERT, CARL, group=OTHER)),
        "a guard that leads to others": added_to(lambda group: guard(BERT, CARL, group=group)),
        "a link to no conversation": state(attributes(pair_group_uuid={"S": OTHER})),
    },
    Code.BLOCKS: {
        "a listed block of nobody": added(Block(CARL.uuid, BERT, TIMES[0]).to_item()),
        "a guard with a conversation and blocks": added_to(
            lambda group: guard(ANNA, BERT, group=group) | blocks_in_guard(ANNA, BERT, by=BERT)
        ),
        "a guard with neither": added(pair_key(BERT.uuid, CARL.uuid)),
    },
}
"""After these the repair makes the table what it was."""

corruptions: dict[str, Corruption] = {
    "a message that is gone": Corruption(
        {Code.MESSAGE_NUMBERS, Code.CONVERSATION_STATE, Code.INBOX_ROW}, remove_second_message
    ),
    "a conversation that lost its block": Corruption({Code.INBOX_ROW, Code.BLOCKS}, lose_block_of_conversation),
    "a block in a guard that lost its conversation": Corruption(
        {Code.PAIR_GUARD, Code.BLOCKS}, added(blocks_in_guard(ANNA, BERT, by=BERT))
    ),
    "a block in the second conversation": Corruption({Code.INBOX_ROW, Code.BLOCKS}, move_block_to_second_conversation),
    **{name: Corruption({code}, corrupt) for code in lost for name, corrupt in lost[code].items()},
    **{name: Corruption({code}, corrupt, True) for code in restored for name, corrupt in restored[code].items()},
}
