"""Users over HTTP: public profiles, which need no token, and the caller's own (openapi.yaml)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from lib.users.accounts import Profile, User
from routes.authentication import login_required
from routes.dependencies import dependencies
from routes.etags import make_etag, with_etag
from routes.rate_limits import limited
from routes.request_body import json_body
from services.users import change_own_profile, profile_by_uuid, short_profile, show_own_profile

users = Blueprint("users", __name__, url_prefix="/api/users")


@users.get("/@<path:handle>/short")  # handles that are older than the rule may have a slash
@limited("profiles")
def get_short_profile(handle: str) -> ResponseReturnValue:
    return jsonify(_profile_json(short_profile(dependencies().users, handle=handle)))


@users.get("/<user_uuid>")
@limited("profiles")
def get_profile(user_uuid: str) -> ResponseReturnValue:
    return jsonify(_profile_json(profile_by_uuid(dependencies().users, uuid=user_uuid)))


@users.get("/me")
@login_required
def get_own_profile(user: User) -> ResponseReturnValue:
    return _own_response(show_own_profile(dependencies().users, user=user))


@users.patch("/me")
@login_required
@limited("changes")
def patch_own_profile(user: User) -> ResponseReturnValue:
    profile = change_own_profile(dependencies().users, user=user, body=json_body(), matches=_matches)
    return _own_response(profile)


def _profile_json(user: User) -> dict[str, Any]:
    return {"uuid": user.uuid, "handle": user.handle, "display_name": user.display_name}


def _own_json(profile: Profile) -> dict[str, Any]:
    fields = {"created_at": profile.created_at, "accepts_messages_from": profile.accepts_messages_from}
    return _profile_json(profile.user) | fields


def _own_response(profile: Profile) -> Response:
    return with_etag(jsonify(_own_json(profile)), cache_control="private, no-cache")


def _matches(profile: Profile) -> bool:
    """Whether this profile fulfills the client's If-Match and If-None-Match (RFC 9110)."""
    etag = make_etag(jsonify(_own_json(profile)).get_data())
    is_expected = not request.if_match or request.if_match.contains(etag)
    return is_expected and not request.if_none_match.contains_weak(etag)
