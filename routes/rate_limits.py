"""Limits of the requests of a user or an address, which Flask-Limiter counts (docs/api.md, "Limits")."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, Literal, NamedTuple

from flask import Flask, Response, current_app, g, request
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter, RateLimitExceeded
from limits.errors import StorageError
from werkzeug.middleware.proxy_fix import ProxyFix

from lib.config import Settings
from lib.rate_storage import network_of, storage_uri
from services.errors import Code, RateLimited

_STORAGE_SECONDS = 0.15  # for the shared store to respond; each process counts by itself while it does not

Name = Literal["sends", "changes", "profiles", "anonymous"]
View = Callable[..., ResponseReturnValue]


class _State(NamedTuple):
    """What is left of a limit: its requests, those left, and the seconds until one more is left."""

    limit: int
    remaining: int
    reset: int


class _RateLimits:
    """The limits of one application, by name."""

    def __init__(self, settings: Settings) -> None:
        is_shared = bool(settings.rate_limit_storage_url)
        options: dict[str, Any] = {"wrap_exceptions": True}
        if is_shared:
            options |= {"socket_timeout": _STORAGE_SECONDS, "socket_connect_timeout": _STORAGE_SECONDS, "retry": None}
        self._limiter = Limiter(
            lambda: g.rate_limit_key,
            strategy="moving-window",
            storage_uri=storage_uri(settings.rate_limit_storage_url),
            storage_options=options,
            in_memory_fallback_enabled=is_shared,
            request_identifier=lambda: "any",  # so that a request without a route counts too
        )
        # Its hooks would cost each request 45 µs. They go to an application that serves nothing.
        self._limiter.init_app(Flask(__name__, static_folder=None))
        rates: dict[Name, str] = {
            "sends": settings.rate_limit_sends,
            "changes": settings.rate_limit_changes,
            "profiles": settings.rate_limit_profiles,
            "anonymous": settings.rate_limit_anonymous,
        }
        self._checks = {name: self._make_check(name, rate) for name, rate in rates.items() if rate != "off"}

    def check(self, name: Name, key: str) -> None:
        """Count a request, if the limit is on. Raises RateLimited."""
        if name in self._checks:
            g.rate_limit_key = key
            try:
                # Of the requests that meet an outage of the store at the same time, only the first is counted.
                with suppress(StorageError):
                    self._checks[name]()
            except RateLimitExceeded as error:
                state = self.state(name) or _State(error.limit.limit.amount, 0, 1)
                raise RateLimited(Code.RATE_LIMITED, limit=state.limit, retry_after=state.reset) from None

    def _make_check(self, name: Name, rate: str) -> Callable[[], None]:
        def check() -> None:
            """Flask-Limiter counts the calls of functions, by their names."""

        check.__qualname__ = f"check_{name}"
        return self._limiter.shared_limit(rate, scope=name)(check)

    def state(self, name: Name) -> _State | None:
        """What is left after the last check, in the window with the fewest requests left.

        None if the limit is off, or the store does not respond.
        """
        limits = self._limiter.current_limits if name in self._checks else []
        try:
            fullest = min(limits, key=lambda limit: (not limit.breached, limit.remaining), default=None)
            if fullest is None:
                return None
            seconds = math.ceil(fullest.window.reset_time - time.time())
        except StorageError:
            return None
        return _State(fullest.limit.amount, fullest.remaining, max(1, seconds))


def limit_rates(app: Flask, settings: Settings) -> None:
    """Limit the requests of an application."""
    app.extensions["rate_limits"] = _RateLimits(settings)
    if settings.trusted_proxies:
        proxies = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=0, x_host=0)  # type: ignore[method-assign]
    app.before_request(_count_anonymous)
    app.after_request(_add_headers)


def limited(name: Name) -> Callable[[View], View]:
    """Limit the calls of a view: by user below `login_required`, else by address."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **arguments: Any) -> ResponseReturnValue:
            limits = _rate_limits()
            limits.check(name, g.get("user_uuid") or _network())
            g.rate_limit = limits.state(name)
            return view(*args, **arguments)

        return wrapper

    return decorate


def count_refused_token() -> None:
    """Count a request whose token is refused. Raises RateLimited."""
    if "Authorization" in request.headers:  # else it is counted already
        _rate_limits().check("anonymous", _network())


def _count_anonymous() -> None:
    """Count a request without a token, and one to a path that takes none. Health checks have no limit."""
    view = current_app.view_functions.get(request.endpoint or "")
    is_anonymous = "Authorization" not in request.headers or not hasattr(view, "needs_token")
    if is_anonymous and request.blueprint != "health":
        _rate_limits().check("anonymous", _network())


def _add_headers(response: Response) -> Response:
    state: _State | None = g.get("rate_limit")
    if state:  # a refusal has its own
        response.headers.setdefault("RateLimit-Limit", str(state.limit))
        response.headers.setdefault("RateLimit-Remaining", str(state.remaining))
        response.headers.setdefault("RateLimit-Reset", str(state.reset))
    return response


def _network() -> str:
    return network_of(request.remote_addr or "unknown")


def _rate_limits() -> _RateLimits:
    limits: _RateLimits = current_app.extensions["rate_limits"]
    return limits
