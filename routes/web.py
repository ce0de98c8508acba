"""The page where two people talk, and what a client needs to know before the sign-in.

The page is the files in `web/`. It has no build step, so a change of a file shows at the next reload.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, send_from_directory
from flask.typing import ResponseReturnValue

from lib.config import ROOT, Settings
from routes.dependencies import dependencies
from services.validation import MESSAGE_MAX_CHARS

WEB_FOLDER = ROOT / "web"

config = Blueprint("client_config", __name__, url_prefix="/api")
web = Blueprint("web", __name__)


@config.get("/client-config")
def get_client_config() -> ResponseReturnValue:
    settings = dependencies().settings
    users = [name.strip() for name in settings.demo_users.split(",") if name.strip()]
    return jsonify(
        {
            "cognito": {
                "endpoint": settings.cognito_public_endpoint,
                "user_pool_id": settings.aws_cognito_user_pool_id,
                "client_id": settings.aws_cognito_user_pool_client_id,
            },
            "message_max_chars": MESSAGE_MAX_CHARS,
            "demo_users": [{"username": name, "password": settings.demo_password} for name in users],
        }
    )


@web.get("/")
def get_page() -> Response:
    return send_from_directory(WEB_FOLDER, "index.html")


@web.get("/web/<path:name>")
def get_file(name: str) -> Response:
    return send_from_directory(WEB_FOLDER, name)


@web.after_request
def protect_page(response: Response) -> Response:
    """Let the page load files from this host alone, call this host and Cognito alone, and never run a text as code."""
    response.headers["Content-Security-Policy"] = content_security_policy(dependencies().settings)
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


def content_security_policy(settings: Settings) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src 'self' {settings.cognito_public_endpoint}/",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",  # the browser refuses innerHTML and its like
            "trusted-types 'none'",
        ]
    )
