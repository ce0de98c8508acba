"""Damages to a sound table, each with the one code that the doctor has to find for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lib.ddb import keys
from lib.ddb.items import Conversation, Item, Member, PairGuard, pair_key
from lib.users.directory import User
from tests.support.doctor_fixtures import change, cognito_id_of, email_of
from tests.support.old_data import TIMES, old_message, old_row
from tests.support.stores import ANNA, BERT, CARL, TableContents
from tools.doctor.findings import Code

OTHER = "00000000-55d1-47a0-bc6d-fe2bc2700399"
NOBODY = User("99999999-0000-4000-8000-000000000009", "nobody", "Nobody")

Damage = Callable[[TableContents, str], None]
Edit = Callable[[Item], Any]
damages: dict[str, tuple[Code, Damage, bool]] = {}
"""By name: what is found, what damages, and whether the repair restores the table as it was."""


def damage(code: Code, *, restored: bool = False) -> Callable[[Damage], Damage]:
    def keep(function: Damage) -> Damage:
        damages[function.__name__] = (code, function, restored)
        return function

    return keep


def state(contents: TableContents, group: str, edit: Edit) -> None:
    change(contents, keys.conversation_pk(group), edit)


def message(contents: TableContents, group: str, edit: Edit, *, at: int = 0) -> None:
    change(contents, keys.message_pk(group), edit, at=at)


def row_of_anna(contents: TableContents, group: str, edit: Edit) -> None:
    [row] = [row for row in contents.partition(keys.inbox_pk(ANNA.uuid)) if row["message_group_uuid"]["S"] == group]
    contents.remove({"pk": row["pk"], "sk": row["sk"]})
    edit(row)
    contents.put(row)


def member(item: Item, user: User) -> Item:
    found: Item = item["members"]["M"][user.uuid]["M"]
    return found


def empty_conversation(*pair: User) -> list[Item]:
    """Another conversation, without messages: its state and rows."""
    members = {user.uuid: Member(user, read_seq=0) for user in pair}
    there = Conversation(OTHER, members, last_message_at=TIMES[0], seq=0, version=1, created_at=TIMES[0])
    rows = [old_row(one, TIMES[0], other, "", group=OTHER) for one, other in (pair, pair[::-1])]
    return [there.to_item(), *({**row, "seq": {"N": "0"}, "read_seq": {"N": "0"}} for row in rows)]


@damage(Code.SHAPE_UNKNOWN)
def an_item_of_no_kind(contents: TableContents, group: str) -> None:
    contents.put({"pk": {"S": "USER#1"}, "sk": {"S": "STATE"}})


@damage(Code.SHAPE_UNKNOWN)
def a_message_without_its_uuid(contents: TableContents, group: str) -> None:
    message(contents, group, lambda item: item.pop("message_uuid"), at=1)


@damage(Code.SHAPE_UNKNOWN)
def a_state_of_three(contents: TableContents, group: str) -> None:
    state(contents, group, lambda item: item["members"]["M"].update({CARL.uuid: item["members"]["M"][ANNA.uuid]}))


@damage(Code.SHAPE_UNKNOWN)
def a_number_that_is_not_whole(contents: TableContents, group: str) -> None:
    state(contents, group, lambda item: item.update(version={"N": "5.5"}))


@damage(Code.KEY_MALFORMED)
def a_message_at_no_time(contents: TableContents, group: str) -> None:
    contents.put(old_message("yesterday", ANNA, "when?", group=group))


@damage(Code.KEY_MALFORMED)
def a_guard_in_the_wrong_order(contents: TableContents, group: str) -> None:
    contents.put({"pk": {"S": f"PAIR#{BERT.uuid}#{ANNA.uuid}"}, "sk": {"S": "STATE"}, "group_uuid": {"S": group}})


@damage(Code.RECEIPT_MALFORMED)
def a_receipt_without_its_answer(contents: TableContents, group: str) -> None:
    change(contents, f"IDEM#{ANNA.uuid}#a key", lambda item: item.pop("answer"))


@damage(Code.RECEIPT_MALFORMED)
def a_receipt_of_somebody_else(contents: TableContents, group: str) -> None:
    change(contents, f"IDEM#{ANNA.uuid}#a key", lambda item: item["answer"]["M"]["user_uuid"].update(S=BERT.uuid))


@damage(Code.PRIVATE_DATA)
def an_email_address_in_a_message(contents: TableContents, group: str) -> None:
    message(contents, group, lambda item: item.update(sent_by={"S": f"Anna <{email_of(ANNA)}>"}))


@damage(Code.PRIVATE_DATA)
def a_cognito_id_in_a_list(contents: TableContents, group: str) -> None:
    message(contents, group, lambda item: item.update(read_by={"L": [{"S": cognito_id_of(BERT)}]}))


@damage(Code.PRIVATE_DATA)
def an_email_address_that_somebody_else_has(contents: TableContents, group: str) -> None:
    state(contents, group, lambda item: item.update(contact={"S": "of-nobody@elsewhere.test"}))


@damage(Code.NAMES_MISSING, restored=True)
def a_message_without_names(contents: TableContents, group: str) -> None:
    message(contents, group, lambda item: (item.pop("user_handle"), item.update(user_display_name={"NULL": True})))


@damage(Code.NAMES_MISSING, restored=True)
def a_row_without_names(contents: TableContents, group: str) -> None:
    row_of_anna(contents, group, lambda item: (item.pop("user_handle"), item.pop("user_display_name")))


@damage(Code.INDEX_ENTRY_FOREIGN, restored=True)
def a_message_in_the_index(contents: TableContents, group: str) -> None:
    message(contents, group, lambda item: item.update(message_group_uuid={"S": group}))


@damage(Code.USER_UNKNOWN)
def a_state_of_somebody_unknown(contents: TableContents, group: str) -> None:
    guard = PairGuard(user_uuids=(ANNA.uuid, NOBODY.uuid), group_uuid=OTHER)
    contents.put(guard.to_item(), *empty_conversation(ANNA, NOBODY))


@damage(Code.NOT_ADOPTED)
def an_old_conversation(contents: TableContents, group: str) -> None:
    other = [old_row(a, TIMES[0], b, "filler", group=OTHER) for a, b in ((BERT, CARL), (CARL, BERT))]
    contents.put(old_message(TIMES[0], CARL, "old", group=OTHER), *other)


@damage(Code.MEMBERS_UNCLEAR)
def rows_that_name_three(contents: TableContents, group: str) -> None:
    contents.put(old_row(ANNA, TIMES[0], BERT, "", group=OTHER), old_row(CARL, TIMES[0], ANNA, "", group=OTHER))


@damage(Code.MESSAGES_ORPHANED)
def messages_alone(contents: TableContents, group: str) -> None:
    contents.put(*(old_message(at, ANNA, at, group=OTHER) for at in TIMES))


@damage(Code.ROW_ORPHANED)
def rows_alone(contents: TableContents, group: str) -> None:
    rows = [old_row(a, TIMES[0], b, "last words", group=OTHER) for a, b in ((BERT, CARL), (CARL, BERT))]
    contents.put(*({**row, "seq": {"N": "7"}, "read_seq": {"N": "7"}} for row in rows))


@damage(Code.SEQ_MISSING, restored=True)
def a_message_without_a_number(contents: TableContents, group: str) -> None:
    message(contents, group, lambda item: item.pop("seq"), at=2)


@damage(Code.SEQ_MISSING)
def a_message_that_was_never_counted(contents: TableContents, group: str) -> None:
    contents.put(old_message("2026-01-02T13:00:00.000000+00:00", ANNA, "six", group=group))


@damage(Code.SEQ_DOUBLED, restored=True)
def two_messages_of_one_number(contents: TableContents, group: str) -> None:
    message(contents, group, lambda item: item.update(seq={"N": "2"}), at=3)


@damage(Code.SEQ_GAP)
def a_message_that_is_gone(contents: TableContents, group: str) -> None:
    contents.remove({name: contents.partition(keys.message_pk(group))[1][name] for name in ("pk", "sk")})


@damage(Code.SEQ_GAP, restored=True)
def numbers_that_go_on_too_high(contents: TableContents, group: str) -> None:
    message(contents, group, lambda item: item.update(seq={"N": "1000"}), at=4)


@damage(Code.STATE_SEQ, restored=True)
def a_state_that_counts_wrong(contents: TableContents, group: str) -> None:
    state(contents, group, lambda item: item.update(seq={"N": "7"}))


@damage(Code.STATE_TIME, restored=True)
def a_state_that_is_ahead(contents: TableContents, group: str) -> None:
    state(contents, group, lambda item: item.update(last_message_at={"S": "2026-01-02T12:00:09.000000+00:00"}))


@damage(Code.STATE_TIME, restored=True)
def a_state_that_is_behind(contents: TableContents, group: str) -> None:
    state(contents, group, lambda item: item.update(last_message_at={"S": "2026-01-02T12:00:00.000000+00:00"}))


@damage(Code.SENDER_STRANGER)
def a_message_of_somebody_else(contents: TableContents, group: str) -> None:
    message(contents, group, lambda item: item.update(user_uuid={"S": CARL.uuid}))


@damage(Code.READ_SEQ_RANGE, restored=True)
def a_position_past_the_end(contents: TableContents, group: str) -> None:
    state(contents, group, lambda item: member(item, BERT).update(read_seq={"N": "8"}))


@damage(Code.ROW_MISSING, restored=True)
def a_member_without_a_row(contents: TableContents, group: str) -> None:
    contents.remove(contents.inbox(BERT)[0].key())


@damage(Code.ROW_DOUBLED, restored=True)
def a_member_with_rows_in_plenty(contents: TableContents, group: str) -> None:
    for number in range(120):
        contents.put(old_row(ANNA, f"2022-01-01T00:00:00.{number:06}+00:00", BERT, "a double", group=group))


@damage(Code.ROW_MISPLACED, restored=True)
def a_row_that_was_left_behind(contents: TableContents, group: str) -> None:
    row_of_anna(contents, group, lambda item: item["sk"].update(S="2026-01-02T12:00:01.000000+00:00"))


@damage(Code.ROW_MESSAGE, restored=True)
def a_row_with_another_text(contents: TableContents, group: str) -> None:
    row_of_anna(contents, group, lambda item: item["message"].update(S="this is a filler message"))


@damage(Code.ROW_MESSAGE, restored=True)
def a_row_with_another_sender(contents: TableContents, group: str) -> None:
    row_of_anna(contents, group, lambda item: item["sender_uuid"].update(S=ANNA.uuid))


@damage(Code.ROW_NUMBERS, restored=True)
def a_row_that_counts_wrong(contents: TableContents, group: str) -> None:
    row_of_anna(contents, group, lambda item: item["seq"].update(N="6"))


@damage(Code.ROW_NAMES, restored=True)
def a_row_with_another_name(contents: TableContents, group: str) -> None:
    row_of_anna(contents, group, lambda item: item["user_handle"].update(S="bertram"))


@damage(Code.ROW_STRANGER, restored=True)
def a_row_of_somebody_else(contents: TableContents, group: str) -> None:
    contents.put(old_row(CARL, "2026-01-02T12:00:04.000000+00:00", BERT, "five", group=group))


@damage(Code.READ_SEQ_ROW, restored=True)
def a_row_with_another_position(contents: TableContents, group: str) -> None:
    row_of_anna(contents, group, lambda item: item["read_seq"].update(N="1"))


@damage(Code.GUARD_MISSING, restored=True)
def no_guard(contents: TableContents, group: str) -> None:
    contents.remove(pair_key(ANNA.uuid, BERT.uuid))


@damage(Code.GUARD_DANGLING, restored=True)
def a_guard_that_leads_nowhere(contents: TableContents, group: str) -> None:
    contents.put({**pair_key(ANNA.uuid, BERT.uuid), "group_uuid": {"S": OTHER}})


@damage(Code.GUARD_DANGLING, restored=True)
def a_guard_of_two_who_never_talked(contents: TableContents, group: str) -> None:
    contents.put({**pair_key(BERT.uuid, CARL.uuid), "group_uuid": {"S": OTHER}})


@damage(Code.GUARD_WRONG, restored=True)
def a_guard_that_leads_to_others(contents: TableContents, group: str) -> None:
    contents.put({**pair_key(BERT.uuid, CARL.uuid), "group_uuid": {"S": group}})


@damage(Code.PAIR_UNLINKED, restored=True)
def a_conversation_that_leads_elsewhere(contents: TableContents, group: str) -> None:
    state(contents, group, lambda item: item.update(pair_group_uuid={"S": OTHER}))


@damage(Code.PAIR_UNLINKED)
def two_conversations_of_a_pair(contents: TableContents, group: str) -> None:
    contents.put(*empty_conversation(ANNA, BERT))
