"""Blocks over HTTP (openapi.yaml)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue

from lib.ddb.items import Block
from lib.users.accounts import User
from routes.authentication import login_required
from routes.conversations import user_json
from routes.dependencies import dependencies
from routes.pagination import page_args, page_response
from routes.rate_limits import limited
from services.blocks import block_user, list_blocks, unblock_user

blocks = Blueprint("blocks", __name__, url_prefix="/api/blocks")


@blocks.get("")
@login_required
def get_blocks(user: User) -> ResponseReturnValue:
    deps, args = dependencies(), page_args()
    page = list_blocks(deps.blocks, deps.users, user=user, limit=args.get("limit"), cursor=args.get("cursor"))
    return page_response([_block(block) for block in page.items], page, limit=args.get("limit"))


@blocks.put("/@<path:handle>")  # handles that are older than the rule may have a slash
@login_required
@limited("changes")
def put_block(user: User, handle: str) -> ResponseReturnValue:
    deps = dependencies()
    block_user(deps.blocks, deps.users, user=user, handle=handle)
    return "", 204


@blocks.delete("/@<path:handle>")
@login_required
@limited("changes")
def delete_block(user: User, handle: str) -> ResponseReturnValue:
    deps = dependencies()
    unblock_user(deps.blocks, deps.users, user=user, handle=handle)
    return "", 204


def _block(block: Block) -> dict[str, Any]:
    return {**user_json(block.user), "created_at": block.created_at}
