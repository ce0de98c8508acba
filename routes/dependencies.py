"""What every route works with: the adapters that create_app made, and the user who is signed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import current_app, g, request
from flask.typing import ResponseReturnValue

from lib.config import Settings
from lib.ddb.read_positions import ReadPositions
from lib.ddb.store import MessageStore
from lib.identity.tokens import TokenVerifier
from lib.users.directory import User, UserDirectory
from services.newcomers import Newcomers
from services.readiness import Readiness
from services.users import authenticate


@dataclass(frozen=True, slots=True)
class Backend:
    """The adapters of one application."""

    settings: Settings
    store: MessageStore
    read_positions: ReadPositions
    users: UserDirectory
    newcomers: Newcomers
    verifier: TokenVerifier
    readiness: Readiness


def backend() -> Backend:
    """The adapters of the application that answers this request."""
    adapters: Backend = current_app.extensions["backend"]
    return adapters


def signed_in(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """Let a view be called by signed-in users alone; it gets the user as its first argument."""

    @wraps(view)
    def guarded(**values: Any) -> ResponseReturnValue:
        user = _caller()
        g.user_uuid = user.uuid  # for the request's log line
        return view(user, **values)

    return guarded


def _caller() -> User:
    adapters = backend()
    authorization = request.headers.get("Authorization")
    return authenticate(adapters.verifier, adapters.users, adapters.newcomers, authorization=authorization)
