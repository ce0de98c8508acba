"""Reports over HTTP (openapi.yaml)."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from lib.users.accounts import User
from routes.authentication import login_required
from routes.dependencies import dependencies
from routes.rate_limits import limited
from routes.request_body import json_body
from services.reports import report_user

reports = Blueprint("reports", __name__, url_prefix="/api/reports")


@reports.post("")
@login_required
@limited("changes")
def post_report(user: User) -> ResponseReturnValue:
    deps = dependencies()
    uuid = report_user(deps.store, deps.reports, user=user, body=json_body())
    return jsonify({"uuid": uuid}), 201
