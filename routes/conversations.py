"""Conversations over HTTP: pattern B and the read state (openapi.yaml)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from lib.ddb.items import Conversation, InboxRow
from lib.users.accounts import User
from routes.authentication import login_required
from routes.dependencies import dependencies
from routes.pagination import page_args, page_response
from routes.request_body import json_body
from services.list_message_groups import find_message_group, list_message_groups
from services.read_state import count_unread, mark_read, mark_unread, show_message_group

conversations = Blueprint("message_groups", __name__, url_prefix="/api")


@conversations.get("/message_groups")
@login_required
def get_message_groups(user: User) -> ResponseReturnValue:
    deps, args = dependencies(), page_args()
    if "with" in args:
        page = find_message_group(deps.store, deps.users, user=user, handle=args["with"], args=args)
        return page_response([message_group_json(row) for row in page.items], page)
    page = list_message_groups(
        deps.store,
        deps.users,
        user=user,
        limit=args.get("limit"),
        cursor=args.get("cursor"),
        since=args.get("since"),
    )
    return page_response([message_group_json(row) for row in page.items], page, limit=args.get("limit"))


@conversations.get("/message_groups/<message_group_uuid>")
@login_required
def get_message_group(user: User, message_group_uuid: str) -> ResponseReturnValue:
    deps = dependencies()
    state = show_message_group(deps.store, deps.users, user=user, message_group_uuid=message_group_uuid)
    return jsonify(_conversation(state, user))


@conversations.post("/message_groups/<message_group_uuid>/read")
@login_required
def post_read(user: User, message_group_uuid: str) -> ResponseReturnValue:
    body = json_body()
    state = mark_read(dependencies().read_positions, user=user, message_group_uuid=message_group_uuid, body=body)
    return jsonify(_read_state(state, user))


@conversations.delete("/message_groups/<message_group_uuid>/read")
@login_required
def delete_read(user: User, message_group_uuid: str) -> ResponseReturnValue:
    state = mark_unread(dependencies().read_positions, user=user, message_group_uuid=message_group_uuid)
    return jsonify(_read_state(state, user))


@conversations.get("/unread")
@login_required
def get_unread(user: User) -> ResponseReturnValue:
    return jsonify({"unread_count": count_unread(dependencies().read_positions, user=user)})


def user_json(user: User) -> dict[str, Any]:
    """A user in a message, an inbox row or a conversation."""
    fields = {"user_uuid": user.uuid, "display_name": user.display_name, "handle": user.handle}
    return fields | {"deleted": True} if user.is_deleted else fields


def message_group_json(row: InboxRow) -> dict[str, Any]:
    """A conversation in the inbox of a user."""
    return {
        "uuid": row.group_uuid,
        **user_json(row.other),
        "message": row.text,
        "message_uuid": row.message_uuid,
        "sender_uuid": row.sender_uuid,
        "created_at": row.last_message_at,
        # A row of an older backend has no numbers until its conversation is migrated.
        "seq": max(0, row.seq or 0),
        "unread_count": row.unread_count,
        **({"blocked": True} if row.blocks else {}),
    }


def _conversation(state: Conversation, user: User) -> dict[str, Any]:
    members = [{**user_json(member.user), "read_seq": member.read_seq} for _, member in sorted(state.members.items())]
    return {
        "uuid": state.group_uuid,
        "members": members,
        "seq": state.seq,
        "created_at": state.created_at,
        **({"blocked": True} if state.members[user.uuid].blocks else {}),
    }


def _read_state(state: Conversation, user: User) -> dict[str, Any]:
    member = state.members[user.uuid]
    return {
        "uuid": state.group_uuid,
        "seq": state.seq,
        "read_seq": member.read_seq,
        "unread_count": 0 if member.blocks else max(0, state.seq - member.read_seq),
    }
