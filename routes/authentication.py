"""Authenticates requests by the access token in their Authorization header."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import g, request
from flask.typing import ResponseReturnValue

from routes.dependencies import dependencies
from routes.rate_limits import count_refused_token
from services.errors import Unauthenticated
from services.users import authenticate


def login_required(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """Let only signed-in users call a view. Passes the user as the first argument."""

    @wraps(view)
    def wrapper(**arguments: Any) -> ResponseReturnValue:
        deps = dependencies()
        authorization = request.headers.get("Authorization")
        try:
            user = authenticate(deps.verifier, deps.users, deps.newcomers, authorization=authorization)
        except Unauthenticated:
            count_refused_token()
            raise
        g.user_uuid = user.uuid  # for the request's log line
        return view(user, **arguments)

    wrapper.needs_token = True  # type: ignore[attr-defined]
    return wrapper
