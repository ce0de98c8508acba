"""The page for two people to try the system: its files in `web/`, and where it finds Cognito."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, send_from_directory
from flask.typing import ResponseReturnValue

from lib.config import ROOT
from routes.dependencies import dependencies
from services.validation import MESSAGE_MAX_CHARS

WEB_FOLDER = ROOT / "web"

config = Blueprint("client_config", __name__, url_prefix="/api")
web = Blueprint("web", __name__)


@config.get("/client-config")
def get_client_config() -> ResponseReturnValue:
    settings = dependencies().settings
    endpoint = settings.aws_endpoint_url_cognito_identity_provider
    return jsonify(
        {
            "cognito": {
                "endpoint": endpoint or settings.cognito_issuer.rpartition("/")[0],
                "user_pool_id": settings.aws_cognito_user_pool_id,
                "client_id": settings.aws_cognito_user_pool_client_id,
            },
            "message_max_chars": MESSAGE_MAX_CHARS,
            "demo_users": [{"handle": h, "username": h, "password": "Cruddur-1234"} for h in ("Augustsz", "bayko")],
        }
    )


@web.get("/")
def get_page() -> Response:
    response = send_from_directory(WEB_FOLDER, "index.html")
    endpoint = dependencies().settings.aws_endpoint_url_cognito_identity_provider
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src 'self'; connect-src 'self' {endpoint}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response


@web.get("/web/<path:name>")
def get_file(name: str) -> Response:
    return send_from_directory(WEB_FOLDER, name)
