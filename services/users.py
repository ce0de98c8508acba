"""Who is asking, and what anyone may know of a user."""

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
from services.errors import Code, NotFound, Unauthenticated, Unavailable, database_errors
from services.newcomers import Newcomers


def authenticate(
    verifier: TokenVerifier, users: UserDirectory, newcomers: Newcomers, *, authorization: str | None
) -> User:
    """The user behind an Authorization header; who signed up and has no row in Postgres gets it now.

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
    with database_errors():
        user = users.by_cognito_user_id(cognito_user_id)
    return user or newcomers.let_in(cognito_user_id, bearer_token(authorization))


def short_profile(users: UserDirectory, *, handle: str) -> User:
    """The public part of a user. Raises NotFound, Unavailable."""
    with database_errors():
        user = users.profile(handle)
    if user is None:
        raise NotFound(Code.USER_NOT_FOUND)
    return user
