"""Users who signed up and have no row in Postgres, because their confirmation came to nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256

from cachetools import TTLCache

from lib.cache.base import InMemoryCache
from lib.identity.cognito import USER_INFO_SCOPE, CognitoError, TokenRevoked, UserInfo
from lib.identity.tokens import scopes
from lib.users.directory import User, UserDirectory
from services.errors import Code, Forbidden, ServiceError, Unauthenticated, Unavailable
from services.provision_user import provision_user

REMEMBERED_SECONDS = 5
_REMEMBERED_TOKENS = 4096


class Newcomers:
    """Makes users of them, by what Cognito tells about a token's owner. Safe to share between threads.

    A refusal is remembered for some seconds, so that a client that keeps asking does not make us keep asking Cognito.
    It is the token that is refused: who signs in again is asked for again.
    """

    def __init__(
        self, user_info: UserInfo, users: UserDirectory, *, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._user_info = user_info
        self._users = users
        # By fingerprint, and as recipes: an exception keeps the frames that it came through, and they the token.
        self._refused: InMemoryCache[bytes, Callable[[], ServiceError]] = InMemoryCache(
            TTLCache(_REMEMBERED_TOKENS, REMEMBERED_SECONDS, timer)
        )

    def let_in(self, cognito_user_id: str, verified_token: str) -> User:
        """The user that the token's owner is from now on.

        Raises Unauthenticated if Cognito has revoked the token, Forbidden if nobody can be made of its owner,
        Unavailable.
        """
        fingerprint = sha256(verified_token.encode()).digest()
        if refusal := self._refused.get(fingerprint):
            raise refusal()
        try:
            # Of the two, the token is what the next request is judged by.
            attributes = self._ask(verified_token) | {"sub": cognito_user_id}
            return provision_user(self._users, attributes)
        except ServiceError as error:
            self._refused.put(fingerprint, partial(type(error), *error.codes))
            raise

    def _ask(self, verified_token: str) -> dict[str, str]:
        if USER_INFO_SCOPE not in scopes(verified_token):
            raise Forbidden(Code.USER_NOT_FOUND)
        try:
            return self._user_info.attributes(verified_token)
        except TokenRevoked as error:
            raise Unauthenticated(Code.TOKEN_INVALID) from error
        except CognitoError as error:
            raise Unavailable(Code.IDENTITY_PROVIDER_UNAVAILABLE) from error
