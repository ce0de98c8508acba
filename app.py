"""The application: its dependencies, its routes and its CORS headers. It has no logic.

Only `create_app` makes dependencies. The import of this module makes none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

from flask import Blueprint, Flask, Response, request
from flask_cors import CORS

from lib.aws.dynamodb_client import DynamoDBClient
from lib.cache.shared import shared_cache
from lib.config import Settings, load
from lib.ddb.blocks import Blocks
from lib.ddb.cursors import CursorSigner
from lib.ddb.migration import check_index
from lib.ddb.read_positions import ReadPositions
from lib.ddb.store import MessageStore, StreamedMessageStore
from lib.ddb.table import Table
from lib.identity.cognito import UserInfo
from lib.identity.tokens import TokenVerifier
from lib.live.hub import Hub
from lib.live.postgres import PostgresRelay
from lib.logs import configure
from lib.postgres.database import Database
from lib.users.directory import UserDirectory
from lib.users.reports import Reports
from routes.blocks import blocks
from routes.conversations import conversations
from routes.dependencies import Dependencies
from routes.docs import docs
from routes.errors import handle_errors
from routes.events import events
from routes.health import health
from routes.json_provider import OrjsonProvider
from routes.messages import messages
from routes.rate_limits import limit_rates
from routes.reports import reports
from routes.request_body import MAX_BODY_BYTES
from routes.request_log import log_requests
from routes.security_headers import protect_responses
from routes.users import users
from routes.web import config, web
from services.errors import Code
from services.live import drop_changed_users, publish_read, publish_update
from services.provisioning import Newcomers
from services.readiness import Readiness
from services.users import cognito_attributes

PREFLIGHT_SECONDS = 3600  # browsers send a preflight for each URL, and every `since` makes another URL
LIVE_THREADS = 2  # that read the feeds of all event streams of a process
EXPOSED_HEADERS = (
    *("ETag", "Feed-Cursor", "Idempotency-Replayed", "Link"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    *("Retry-After", "WWW-Authenticate", "X-Request-Id"),
)


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. Without `settings`, it loads them from the environment. Raises SettingsError.

    It opens no connection: the first request that needs one does.
    """
    settings = settings or load(Settings)
    configure(settings.log_level)
    app = _Application(__name__, static_folder=None)
    app.json = OrjsonProvider(app)
    app.url_map.merge_slashes = False  # a redirect from `//` would go to any Host that the client sent
    # One byte above the limit: werkzeug cuts a chunked body off here, and the route must see that the body was longer.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    app.extensions["dependencies"] = _make_dependencies(settings)
    for blueprint in (conversations, messages, blocks, events, users, reports, health, docs, config):
        app.register_blueprint(blueprint)
    if settings.web_client == "on":
        app.register_blueprint(web)
    log_requests(app)
    handle_errors(app)
    protect_responses(app, hsts=settings.backend_url.startswith("https://"))
    _allow_origins(app, *settings.origins)
    limit_rates(app, settings)
    return app


def _allow_origins(app: Flask, *origins: str) -> None:
    """Let pages of these origins, and of no other, read the responses (CORS)."""

    @app.before_request
    def respond_to_preflight() -> Response | None:
        """Let the browser send its request even to a path that is not served, so that the page sees the 404."""
        is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        return Response() if is_preflight else None

    cors = _Cors("cors", __name__)
    CORS(
        cors,
        origins=re.compile(rf"(?:{'|'.join(map(re.escape, origins))})\Z", re.IGNORECASE),
        methods=["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"],
        expose_headers=EXPOSED_HEADERS,
        max_age=PREFLIGHT_SECONDS,
        vary_header=False,
        intercept_exceptions=False,  # routes/errors.py handles all of them
    )

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers["Vary"] = ", ".join([*response.headers.getlist("Vary"), "Origin"])
        return cors.hook(response) if "Origin" in request.headers else response


class _Application(Flask):
    """A Flask application whose views and hooks are no coroutines."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself. Flask would inspect all of them again at each request, which takes 4 µs."""
        return func


class _Cors(Blueprint):
    """Takes the hook of flask-cors. The hook costs 11 µs even if a request has no Origin and gets no CORS header."""

    def after_request(self, f: Any) -> Any:
        self.hook: Callable[[Response], Response] = f
        return f


def _make_dependencies(settings: Settings) -> Dependencies:
    # Threads that wait for one dependency leave a quarter of the threads to requests that do not need it.
    threads = max(1, settings.web_threads * 3 // 4)
    database = Database(settings.database_url, pool_size=min(settings.database_pool_size, threads))
    table = Table(DynamoDBClient(settings, pool_size=threads + LIVE_THREADS), settings.ddb_table)
    directory = UserDirectory(database, shared_cache(settings))
    window = timedelta(seconds=settings.feed_window_seconds)
    store_class = {"inline": MessageStore, "stream": StreamedMessageStore}[settings.group_updates]
    hub = Hub(
        PostgresRelay(settings.live_database_url),
        streams_per_user=settings.streams_per_user,
        on_user_change=partial(drop_changed_users, directory),
    )
    cursors = CursorSigner(*settings.secret_keys, table=settings.ddb_table)
    verifier = TokenVerifier(
        issuer=settings.cognito_issuer,
        client_id=settings.aws_cognito_user_pool_client_id,
        jwks_url=settings.cognito_jwks_url,
        jwks_fallback=settings.cognito_jwks_fallback,
        waiting=threads,
    )
    store = store_class(table, cursors, feed_window=window, on_update=partial(publish_update, hub))
    return Dependencies(
        settings=settings,
        store=store,
        read_positions=ReadPositions(table, store.conversations, on_update=partial(publish_read, hub, store)),
        blocks=Blocks(table, store.conversations, cursors),
        users=directory,
        reports=Reports(database),
        newcomers=Newcomers(partial(cognito_attributes, UserInfo(settings, pool_size=threads)), directory),
        verifier=verifier,
        readiness=Readiness(
            {
                Code.POSTGRES_UNAVAILABLE: database.check_schema,
                Code.DYNAMODB_UNAVAILABLE: partial(check_index, table),
                Code.IDENTITY_PROVIDER_UNAVAILABLE: verifier.check_keys,
            }
        ),
        hub=hub,
        live_threads=ThreadPoolExecutor(LIVE_THREADS, thread_name_prefix="live-reader"),
    )
