"""Limits of the requests of a user or an address (docs/api.md, "Limits")."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

from flask import Flask, Response, current_app, g, request
from flask.typing import ResponseReturnValue
from werkzeug.middleware.proxy_fix import ProxyFix

from lib.config import Settings
from lib.rate_limits import RateLimiter, State, Windows, network_of, parse_windows
from services.errors import Code, RateLimited

Name = Literal["sends", "changes", "profiles", "anonymous"]
View = Callable[..., ResponseReturnValue]


class _RateLimits:
    """The limits of one application, by name."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = RateLimiter(settings.rate_limit_storage_url)
        self._windows: dict[Name, Windows] = {
            "sends": parse_windows(settings.rate_limit_sends),
            "changes": parse_windows(settings.rate_limit_changes),
            "profiles": parse_windows(settings.rate_limit_profiles),
            "anonymous": parse_windows(settings.rate_limit_anonymous),
        }

    def count(self, name: Name, key: str) -> None:
        """Count a request, if the limit is on. Raises RateLimited."""
        if not self._limiter.admit(self._windows[name], name, key):
            state = self._limiter.state(self._windows[name], name, key)
            raise RateLimited(Code.RATE_LIMITED, limit=state.limit, retry_after=state.reset)

    def state(self, name: Name, key: str) -> State | None:
        """What is left of a limit; None if it is off."""
        windows = self._windows[name]
        return self._limiter.state(windows, name, key) if windows else None


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
            limits, key = _rate_limits(), g.get("user_uuid") or _network()
            limits.count(name, key)
            g.rate_limit = limits.state(name, key)
            return view(*args, **arguments)

        return wrapper

    return decorate


def count_refused_token() -> None:
    """Count a request whose token is refused. Raises RateLimited."""
    if "Authorization" in request.headers:  # else it is counted already
        _rate_limits().count("anonymous", _network())


def _count_anonymous() -> None:
    """Count a request without a token, and one to a path that takes none. Health checks have no limit."""
    view = current_app.view_functions.get(request.endpoint or "")
    is_anonymous = "Authorization" not in request.headers or not hasattr(view, "needs_token")
    if is_anonymous and request.blueprint != "health":
        _rate_limits().count("anonymous", _network())


def _add_headers(response: Response) -> Response:
    state: State | None = g.get("rate_limit")
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
