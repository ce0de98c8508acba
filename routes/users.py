"""Users over HTTP: the short profile, which needs no token."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from routes.dependencies import dependencies
from services.users import short_profile

users = Blueprint("users", __name__, url_prefix="/api/users")


@users.get("/@<path:handle>/short")  # handles that are older than the rule may have a slash
def get_short_profile(handle: str) -> ResponseReturnValue:
    user = short_profile(dependencies().users, handle=handle)
    return jsonify({"uuid": user.uuid, "handle": user.handle, "display_name": user.display_name})
