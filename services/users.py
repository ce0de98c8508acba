"""Users: who sends a request, and the profile that everybody may read."""

from __future__ import annotations

from lib.identity.tokens import (
    KeysUnavailable,
    TokenExpired,
    TokenMalformed,
    TokenMissing,
    TokenRejected,
    TokenVerifier,
    bearer_token,
)
from lib.users.directory import User, UserDirectory
from services.errors import Code, NotFound, Unauthenticated, Unavailable, as_service_errors
from services.newcomers import Newcomers


@as_service_errors()
def authenticate(
    verifier: TokenVerifier, users: UserDirectory, newcomers: Newcomers, *, authorization: str | None
) -> User:
    """The user behind an Authorization header. A user who signed up and has no row in Postgres gets one now.

    Raises Unauthenticated, Forbidden for a valid token whose user cannot get a row, Unavailable.
    """
    try:
        cognito_user_id = verifier.verify(authorization)
    except TokenMissing as error:
        raise Unauthenticated(Code.TOKEN_MISSING) from error
    except TokenMalformed as error:
        raise Unauthenticated(Code.TOKEN_MALFORMED) from error
    except TokenExpired as error:
        raise Unauthenticated(Code.TOKEN_EXPIRED) from error
    except TokenRejected as error:
        raise Unauthenticated(Code.TOKEN_INVALID) from error
    except KeysUnavailable as error:
        raise Unavailable(Code.IDENTITY_PROVIDER_UNAVAILABLE) from error
    user = users.by_cognito_user_id(cognito_user_id)
    return user or newcomers.let_in(cognito_user_id, bearer_token(authorization))


@as_service_errors()
def short_profile(users: UserDirectory, *, handle: str) -> User:
    """The public part of a user. Raises NotFound, Unavailable."""
    user = users.profile(handle)
    if user is None:
        raise NotFound(Code.USER_NOT_FOUND)
    return user
