"""The inbox rows of one conversation: their reads, their writes, and their repair if one is missing or out of order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from lib.clock import from_timestamp, now, tick_after
from lib.ddb import keys
from lib.ddb.errors import WriteConflict
from lib.ddb.items import Conversation, InboxRow, Message, parse_all, parse_message
from lib.ddb.table import WRITE_SECONDS, Table, Write
from lib.ddb.transactions import KeyTaken, late_update_writes, replace_rows, update_state
from lib.deadline import deadline, tries

LATE = timedelta(seconds=3)
"""A change of a row is late if the row's time is longer ago.

The write takes at most WRITE_SECONDS more. So any other change is visible 8 seconds after the row's time. The lowest
FEED_WINDOW_SECONDS is 10: that leaves 2 seconds for the difference between the clocks of this process and a reader.
"""

_LAST_ITEMS = 10  # malformed items may stand above the last message


def rows_of_member(table: Table, user_uuid: str, group_uuid: str) -> Iterator[InboxRow]:
    """The conversation's rows in a member's inbox. Reads the whole inbox, strongly consistently."""
    items = table.partition(
        keys.inbox_pk(user_uuid), FilterExpression="message_group_uuid = :group", values={":group": {"S": group_uuid}}
    )
    return parse_all(items, InboxRow.from_item)


def last_message(table: Table, state: Conversation) -> Message | None:
    """The message that the rows show: the newest one up to the state's time."""
    end = state.last_message_at + "\0"
    items, _ = table.newest(keys.message_pk(state.group_uuid), limit=_LAST_ITEMS, before=end)
    return next(filter(None, map(parse_message, items)), None)


def repair_rows(table: Table, before: Conversation, after: Conversation) -> Conversation:
    """Write the state `after` and both rows as it needs them; return the state as written.

    Its time is later than in `after` if another conversation's row has a place. Raises StateChanged and WriteConflict,
    both with nothing written.
    """
    rows = [row for uuid in before.members for row in rows_of_member(table, uuid, before.group_uuid)]
    last = last_message(table, before)
    return write_rows(table, after, lambda state: [update_state(before, state), *replace_rows(state, rows, last=last)])


def write_rows(
    table: Table,
    state: Conversation,
    writes: Callable[[Conversation], Sequence[Write]],
    *,
    had_rows: bool = False,
) -> Conversation:
    """Make the writes of a state and its rows; return the state as written.

    While a member has a row of another conversation at the state's time, the time becomes a microsecond later. If the
    time is long ago, feed cursors may be past it, so the late updates of both members count the change, unless
    `had_rows`: both members had rows of this time before. Raises WriteConflict, and the errors of the writes.
    """
    for _ in tries(WRITE_SECONDS):
        try:
            with deadline(WRITE_SECONDS):  # it begins before the check, so that it also limits a pause of the process
                is_late = not had_rows and now() - from_timestamp(state.last_message_at) > LATE
                counts = late_update_writes(state, now=now()) if is_late else []
                table.transact([*writes(state), *counts])
        except KeyTaken:
            state = replace(state, last_message_at=tick_after(state.last_message_at))
        else:
            return state
    raise WriteConflict
