"""A user's conversations over HTTP: pattern B (DESIGN.md section 4)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from lib.ddb.items import InboxRow
from lib.users import User
from routes.backend import backend, signed_in
from routes.lists import links, paging
from services.list_message_groups import list_message_groups

message_groups = Blueprint("message_groups", __name__, url_prefix="/api")


@message_groups.get("/message_groups")
@signed_in
def get_message_groups(user: User) -> ResponseReturnValue:
    page = list_message_groups(backend().store, user=user, **paging())
    return jsonify([_message_group(row) for row in page.items]), links(page.next_cursor)


def _message_group(row: InboxRow) -> dict[str, Any]:
    return {
        "uuid": row.group_uuid,
        "user_uuid": row.other.uuid,
        "display_name": row.other.display_name,
        "handle": row.other.handle,
        "message": row.text,
        "created_at": row.last_message_at,
        # A row that an older backend wrote has no numbers until its conversation is adopted.
        "seq": row.seq or 0,
        "unread_count": (row.seq or 0) - (row.read_seq or 0),
    }
