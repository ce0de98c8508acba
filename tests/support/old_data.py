"""Items as an older backend wrote them: no state, no pair guard, no numbers."""

from __future__ import annotations

from dataclasses import replace

from lib.ddb.items import Item, PairGuard
from lib.users.accounts import User
from tests.support.stores import ANNA, BERT, TableContents

GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"


def old_message(created_at: str, sender: User, text: str, *, group: str = GROUP) -> Item:
    return {
        "pk": {"S": f"MSG#{group}"},
        "sk": {"S": created_at},
        "message": {"S": text},
        "message_uuid": {"S": f"uuid of {text}"},
        **user_attributes(sender),
    }


def old_row(owner: User, created_at: str, other: User, text: str, *, group: str = GROUP) -> Item:
    return {
        "pk": {"S": f"GRP#{owner.uuid}"},
        "sk": {"S": created_at},
        "message_group_uuid": {"S": group},
        "message": {"S": text},
        **user_attributes(other),
    }


def user_attributes(user: User) -> Item:
    return {
        "user_uuid": {"S": user.uuid},
        "user_display_name": {"S": user.display_name},
        "user_handle": {"S": user.handle},
    }


def old_conversation(*times: str, group: str = GROUP, rows_at: str | None = None) -> list[Item]:
    senders = (ANNA, BERT)
    messages = [old_message(created_at, senders[i % 2], f"old {i}", group=group) for i, created_at in enumerate(times)]
    row_time = rows_at or times[-1]
    filler = "this is a filler message"
    return [
        *messages,
        old_row(ANNA, row_time, BERT, filler, group=group),
        old_row(BERT, row_time, ANNA, filler, group=group),
    ]


def name_in_guard(contents: TableContents, group: str, other: str) -> None:
    """Let the pair guard and the link name `group`, and move the blocks there, as a repair by the doctor does."""
    blockers = contents.conversation(group).blockers | contents.conversation(other).blockers
    for group_uuid, link in ((group, None), (other, group)):
        state = contents.conversation(group_uuid).with_blocks(() if link else blockers)
        contents.put(replace(state, version=state.version + 1, pair_group_uuid=link).to_item())
        for row in [row for user in state.members.values() for row in contents.inbox(user.user)]:
            if row.group_uuid == group_uuid:
                contents.put(replace(row, blocks=state.members[row.owner_uuid].blocks).to_item())
    first, second = sorted(state.members)
    contents.put(PairGuard((first, second), group).to_item())


TIMES = ("2022-12-31T23:59:59.999999+00:00", "2023-01-01T00:00:00.000000+00:00", "2023-06-26T10:16:00.375877+00:00")
