"""The conversations over HTTP: patterns A, B and C (DESIGN.md section 4)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from lib.ddb.items import InboxRow, Message
from lib.users import User
from routes.backend import backend, signed_in
from services.create_message import create_message
from services.errors import Code, Invalid
from services.list_message_groups import list_message_groups
from services.list_messages import list_messages

MAX_BODY_BYTES = 16 * 1024

messages = Blueprint("messages", __name__, url_prefix="/api")


@messages.get("/message_groups")
@signed_in
def get_message_groups(user: User) -> ResponseReturnValue:
    page = list_message_groups(backend().store, user=user, **_paging())
    return jsonify([_message_group(row) for row in page.items]), _links(page.next_cursor)


@messages.get("/messages/<message_group_uuid>")
@signed_in
def get_messages(user: User, message_group_uuid: str) -> ResponseReturnValue:
    step = _step()
    page = list_messages(backend().store, user=user, message_group_uuid=message_group_uuid, **_paging())
    return jsonify([_message(message) for message in page.items[::step]]), _links(page.next_cursor)


@messages.post("/messages")
@signed_in
def post_message(user: User) -> ResponseReturnValue:
    adapters = backend()
    message = create_message(adapters.store, adapters.users, sender=user, body=_json_body())
    return jsonify({"message_group_uuid": message.group_uuid, **_message(message)})


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


def _message(message: Message) -> dict[str, Any]:
    return {
        "uuid": message.uuid,
        "user_uuid": message.sender.uuid,
        "display_name": message.sender.display_name,
        "handle": message.sender.handle,
        "message": message.text,
        "created_at": message.created_at,
        "seq": message.seq,
    }


def _paging() -> dict[str, str | None]:
    return {"limit": request.args.get("limit"), "cursor": request.args.get("cursor")}


def _step() -> int:
    """How to walk through a page, which comes newest first: onwards, or backwards for oldest first."""
    order = request.args.get("order", backend().settings.messages_order)
    if order not in ("asc", "desc"):
        raise Invalid(Code.ORDER_INVALID)
    return -1 if order == "asc" else 1


def _links(next_cursor: str | None) -> dict[str, str]:
    """The header that leads to the next page (RFC 8288); none on the last."""
    if next_cursor is None:
        return {}
    query = urlencode({**request.args.to_dict(), "cursor": next_cursor})
    return {"Link": f'<{backend().settings.backend_url}{request.path}?{query}>; rel="next"'}


def _json_body() -> object:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    try:
        data = request.get_data()
    except HTTPException:
        raise
    except Exception as error:  # each server has its own errors for a body that is not framed as HTTP says
        raise BadRequest from error
    if len(data) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    try:
        body: object = json.loads(data.decode("utf-8-sig"))  # given bytes, json would take UTF-16 and surrogates too
    except (ValueError, RecursionError) as error:
        raise Invalid(Code.BODY_INVALID) from error
    return body
