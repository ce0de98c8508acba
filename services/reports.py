"""Reports: a member of a conversation reports the other member, or one of their messages."""

from __future__ import annotations

from lib.ddb.store import MessageStore
from lib.users.accounts import User
from lib.users.reports import NewReport, Reports
from services.errors import Code, Invalid, NotFound, as_service_errors
from services.validation import check_report


@as_service_errors()
def report_user(store: MessageStore, reports: Reports, *, user: User, body: object) -> str:
    """Store a report of the user; return its uuid. Raises Invalid, NotFound, Unavailable."""
    checked = check_report(body)
    group_uuid, created_at = checked.group_uuid, None
    state = store.conversations.cached(group_uuid=group_uuid, user=user)
    reported_uuid = next(iter(state.members.keys() - {user.uuid}), user.uuid)
    if checked.created_at is not None:
        message = store.find_message(group_uuid=group_uuid, time=checked.created_at)
        if message is None:
            raise NotFound(Code.MESSAGE_NOT_FOUND)
        reported_uuid, created_at = message.sender.uuid, message.created_at
    if reported_uuid == user.uuid:
        raise Invalid(Code.USER_IS_CALLER)
    return reports.add(NewReport(user.uuid, reported_uuid, group_uuid, created_at, checked.reason))
