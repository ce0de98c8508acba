"""Provisioning: a newcomer gets a row in Postgres. A newcomer has signed up with Cognito and has no row yet.

The row comes from a Lambda function at the sign-up, or from the API at the first request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from cachetools import TLRUCache

from lib.cache.base import InMemoryCache
from lib.logs import log
from lib.users.accounts import User
from lib.users.directory import HandleTaken, NameRefused, SignUp, UserDeleted, UserDirectory
from services.errors import Code, Forbidden, ServiceError, Unauthenticated, Unavailable, as_service_errors

if TYPE_CHECKING:  # so that the function post_confirmation does not load jwt
    from lib.identity.tokens import TokenClaims

REFUSED_SECONDS = 5
UNAVAILABLE_SECONDS = 1  # as long as the `Retry-After` of a 503, so that a client's next try can succeed
_REFUSED_TOKENS = 4096


def provision_user(users: UserDirectory, attributes: Mapping[str, str], *, issued_at: float | None = None) -> User:
    """The user with these standard attributes of Cognito. If they have no row, creates or links one.

    `preferred_username` becomes the handle. `name` becomes the display name; without it, the handle does. A second call
    changes nothing. `issued_at` is the time of the user's token, in epoch seconds; without a token, None.
    Raises Unavailable, Unauthenticated if the user was deleted after that time, and Forbidden: HANDLE_TAKEN, or
    USER_NOT_FOUND if attributes are missing or too long, or a new row's name breaks a rule of lib/users/names.py.
    """
    handle = attributes.get("preferred_username", "")
    sign_up = SignUp(
        cognito_user_id=attributes.get("sub", ""),
        handle=handle,
        display_name=attributes.get("name", "").strip() or handle,
        email=attributes.get("email", ""),
        email_verified=attributes.get("email_verified") == "true",
    )
    if not sign_up.is_storable():
        raise Forbidden(Code.USER_NOT_FOUND)
    with as_service_errors():
        try:
            user, outcome = users.provision(sign_up, issued_at=issued_at)
        except UserDeleted as error:
            raise Unauthenticated(Code.TOKEN_REVOKED) from error
        except HandleTaken as error:
            raise Forbidden(Code.HANDLE_TAKEN) from error
        except NameRefused as error:
            raise Forbidden(Code.USER_NOT_FOUND) from error
    log("user_provisioned", sub=sign_up.cognito_user_id, user_uuid=user.uuid, outcome=outcome)
    return user


class Newcomers:
    """Provisions the users of valid tokens who have no row in Postgres. Safe to share between threads.

    `read_attributes` requests the attributes of a token's user from Cognito and raises ServiceError. This class
    caches the refusal of a token for some seconds, so that a client's retries do not all reach Cognito.
    """

    def __init__(
        self,
        read_attributes: Callable[[str], Mapping[str, str]],
        users: UserDirectory,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_attributes = read_attributes
        self._users = users
        # The keys are fingerprints and the values are factories: the frames of an exception would hold the token.
        self._refusals: InMemoryCache[bytes, partial[ServiceError]] = InMemoryCache(
            TLRUCache(
                _REFUSED_TOKENS,
                ttu=lambda _, refusal, now: (
                    now + (UNAVAILABLE_SECONDS if refusal.func is Unavailable else REFUSED_SECONDS)
                ),
                timer=timer,
            )
        )

    def provision(self, claims: TokenClaims, verified_token: str) -> User:
        """The user of a token. Raises Unauthenticated, Forbidden, Unavailable."""
        fingerprint = sha256(verified_token.encode()).digest()
        if refusal := self._refusals.get(fingerprint):
            raise refusal()
        try:
            with as_service_errors():
                if self._users.was_deleted(claims.sub, issued_at=claims.iat):
                    raise Unauthenticated(Code.TOKEN_REVOKED)
            # The token's `sub` wins, because the server looks up the next request by it.
            attributes = {**self._read_attributes(verified_token), "sub": claims.sub}
            return provision_user(self._users, attributes, issued_at=claims.iat)
        except ServiceError as error:
            self._refusals.put(fingerprint, partial(type(error), *error.codes))
            raise
