"""The application: wiring, error answers and the request log. No logic.

`create_app` is the only place where adapters are made; importing this module makes nothing.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta

from flask import Flask, Response, abort, g, jsonify, request
from flask.typing import ResponseReturnValue
from flask_cors import CORS
from werkzeug.exceptions import BadRequest, HTTPException

from lib.aws import metering
from lib.aws.dynamodb_client import DynamoDBClient
from lib.cache.shared import shared_cache
from lib.config import Settings, load
from lib.ddb.cursors import CursorSigner
from lib.ddb.read_positions import ReadPositions
from lib.ddb.store import MessageStore, StreamedMessageStore
from lib.ddb.table import Table
from lib.identity.cognito import UserInfo
from lib.identity.tokens import TokenVerifier
from lib.logs import configure, log
from lib.postgres import database as db
from lib.postgres.database import Database
from lib.users.directory import UserDirectory
from routes.conversations import message_groups
from routes.dependencies import Backend
from routes.docs import reference
from routes.health import health
from routes.json import OrjsonProvider
from routes.messages import messages
from routes.request_body import BEGAN, MAX_BODY_BYTES, REFUSED
from routes.users import users
from services.errors import Code, Conflict, Forbidden, Invalid, NotFound, ServiceError, Unauthenticated, Unavailable
from services.newcomers import Newcomers
from services.readiness import Readiness

RETRY_AFTER_SECONDS = 1
PREFLIGHT_SECONDS = 3600  # each `since` is another URL, and browsers ask for each
EXPOSED_HEADERS = (
    *("ETag", "Feed-Cursor", "Idempotency-Replayed", "Link"),
    *("Retry-After", "WWW-Authenticate", "X-Request-Id"),
)

_STATUS = {Invalid: 422, Unauthenticated: 401, Forbidden: 403, NotFound: 404, Conflict: 409, Unavailable: 503}
_CODES = {
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    408: Code.BODY_TOO_SLOW,
    413: Code.BODY_TOO_LARGE,
    415: Code.CONTENT_TYPE_UNSUPPORTED,
}
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


class Api(Flask):
    """Flask, as this application uses it."""

    json_provider_class = OrjsonProvider


@dataclass(slots=True)
class Trace:
    """What the log line of a request needs."""

    request_id: str
    began: float
    dynamodb: metering.Usage
    postgres: db.Usage


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. Without settings it reads the environment's; SettingsError names what is wrong with them.

    No connection is opened before the first request needs it.
    """
    settings = settings or load(Settings)
    configure(settings.log_level)
    app = Api(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # `//` is another path, and a redirect would repeat whatever Host was sent
    # One more than is accepted: werkzeug cuts a chunked body off here, and the route must see that there was more.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    app.extensions["backend"] = _make_backend(settings)
    for blueprint in (message_groups, messages, users, health, reference):
        app.register_blueprint(blueprint)
    app.before_request(_begin)
    app.after_request(_finish)
    _allow_origins(app, settings.frontend_url, settings.backend_url)
    app.register_error_handler(ServiceError, _refused)
    app.register_error_handler(HTTPException, _not_served)
    app.register_error_handler(Exception, _failed)
    return app


def _allow_origins(app: Flask, *origins: str) -> None:
    """Let pages of these origins, and of no other, read the answers (CORS)."""
    CORS(
        app,
        origins=re.compile(rf"(?:{'|'.join(map(re.escape, origins))})\Z", re.IGNORECASE),
        methods=["DELETE", "GET", "HEAD", "POST"],
        expose_headers=EXPOSED_HEADERS,
        max_age=PREFLIGHT_SECONDS,
        vary_header=False,  # it would be missing where a request has no Origin: see _finish
        intercept_exceptions=False,  # the handlers here answer all of them
    )


def _make_backend(settings: Settings) -> Backend:
    database = Database(settings.database_url, pool_size=settings.database_pool_size)
    table = Table(DynamoDBClient(settings, pool_size=settings.web_threads), settings.ddb_table)
    directory = UserDirectory(database, shared_cache(settings, settings.secret_key))
    window = timedelta(seconds=settings.feed_window_seconds)
    store_of = {"inline": MessageStore, "stream": StreamedMessageStore}[settings.group_updates]
    store = store_of(table, CursorSigner(settings.secret_key), feed_window=window)
    return Backend(
        settings=settings,
        store=store,
        read_positions=ReadPositions(table, store.conversations),
        users=directory,
        newcomers=Newcomers(UserInfo(settings), directory),
        verifier=TokenVerifier(
            issuer=settings.cognito_issuer,
            client_id=settings.aws_cognito_user_pool_client_id,
            jwks_url=settings.cognito_jwks_url,
        ),
        readiness=Readiness({Code.POSTGRES_UNAVAILABLE: database.ping, Code.DYNAMODB_UNAVAILABLE: table.ping}),
    )


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
    began = request.environ.get(BEGAN) or time.perf_counter()  # with the body's time, and the wait for a thread
    g.trace = Trace(request_id, began, metering.start_metering(), db.start_metering())
    if REFUSED in request.environ:
        abort(request.environ[REFUSED])
    if not request.query_string.isascii():  # RFC 3986; werkzeug fails on bytes that are no UTF-8
        raise BadRequest


def _finish(response: Response) -> Response:
    trace: Trace = g.trace
    response.headers["X-Request-Id"] = trace.request_id
    response.headers["Vary"] = "Origin"
    log(
        "request",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        ms=round((time.perf_counter() - trace.began) * 1000, 1),
        request_id=trace.request_id,
        user_uuid=g.get("user_uuid"),
        dynamodb_requests=trace.dynamodb.requests,
        dynamodb_read_units=trace.dynamodb.read_units,
        dynamodb_write_units=trace.dynamodb.write_units,
        postgres_requests=trace.postgres.requests,
    )
    return response


def _refused(error: ServiceError) -> ResponseReturnValue:
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = _challenge(error.codes[0])
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        log(
            "unavailable",
            level=logging.WARNING,
            error=error,
            codes=error.codes,
            cause=repr(error.__cause__),
            request_id=g.trace.request_id,
        )
    return jsonify(error.codes), _STATUS[type(error)], headers


def _challenge(code: Code) -> str:
    """RFC 6750 section 3: omit `error` when the request had no token."""
    if code is Code.TOKEN_MISSING:
        return 'Bearer realm="cruddur"'
    kind = "invalid_request" if code is Code.TOKEN_MALFORMED else "invalid_token"
    return f'Bearer realm="cruddur", error="{kind}", error_description="{code}"'


def _not_served(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    response = jsonify([_CODES.get(status, Code.BAD_REQUEST if status < 500 else Code.INTERNAL_ERROR)])
    if "Allow" in (headers := error.get_response().headers):
        response.headers["Allow"] = headers["Allow"]
    return response, status


def _failed(error: Exception) -> ResponseReturnValue:
    code = getattr(error, "code", None)  # DynamoDB's, where it rejected a request
    log("request_failed", level=logging.ERROR, error=error, code=code, request_id=g.trace.request_id)
    return jsonify([Code.INTERNAL_ERROR]), 500
