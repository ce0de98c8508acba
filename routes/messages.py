"""Messages over HTTP: patterns A and C (openapi.yaml)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from lib.ddb.items import Message
from lib.users.accounts import User
from routes.authentication import login_required
from routes.conversations import user_json
from routes.dependencies import dependencies
from routes.pagination import page_args, page_response
from routes.rate_limits import limited
from routes.request_body import json_body
from services.create_message import create_message
from services.errors import Code, Invalid
from services.list_messages import list_messages

messages = Blueprint("messages", __name__, url_prefix="/api")


@messages.get("/messages/<message_group_uuid>")
@login_required
def get_messages(user: User, message_group_uuid: str) -> ResponseReturnValue:
    deps, step, args = dependencies(), _slice_step(), page_args()
    page = list_messages(
        deps.store,
        deps.users,
        user=user,
        message_group_uuid=message_group_uuid,
        limit=args.get("limit"),
        cursor=args.get("cursor"),
        before=args.get("before"),
        after=args.get("after"),
        around=args.get("around"),
    )
    rows = [_message(message) for message in page.items[::step]]
    return page_response(rows, page, limit=args.get("limit"), order=args.get("order"))


@messages.post("/messages")
@login_required
@limited("sends")
def post_message(user: User) -> ResponseReturnValue:
    deps = dependencies()
    key = request.headers.get("Idempotency-Key")
    sent = create_message(
        deps.store,
        deps.users,
        sender=user,
        body=json_body(),
        idempotency_key=key,
        first_contacts_per_day=deps.settings.first_contacts_per_day,
    )
    response = jsonify({"message_group_uuid": sent.message.group_uuid, **_message(sent.message)})
    return response, {"Idempotency-Replayed": "true"} if sent.replayed else {}


def _message(message: Message) -> dict[str, Any]:
    return {
        "uuid": message.uuid,
        **user_json(message.sender),
        "message": message.text,
        "created_at": message.created_at,
        "seq": message.seq,
    }


def _slice_step() -> int:
    """The slice step for the client's order: 1 for `desc`, -1 for `asc`. A page itself is newest first."""
    order = request.args.get("order", dependencies().settings.messages_order)
    if order not in ("asc", "desc"):
        raise Invalid(Code.ORDER_INVALID)
    return -1 if order == "asc" else 1
