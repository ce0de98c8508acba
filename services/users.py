"""Users: authenticate a request, show profiles, change the caller's own, rename."""

from __future__ import annotations

from collections.abc import Callable

from lib.identity.cognito import USER_INFO_SCOPE, CognitoError, TokenRevoked, UserInfo
from lib.identity.tokens import (
    KeysUnavailable,
    TokenClaims,
    TokenExpired,
    TokenMalformed,
    TokenMissing,
    TokenRejected,
    TokenVerifier,
    bearer_token,
    scopes,
)
from lib.logs import log
from lib.users import names
from lib.users.accounts import Profile, User
from lib.users.cache import CACHED_SECONDS
from lib.users.directory import HandleTaken, UserDirectory
from services.errors import (
    Code,
    Forbidden,
    NotFound,
    PreconditionFailed,
    Unauthenticated,
    Unavailable,
    as_service_errors,
)
from services.provisioning import Newcomers
from services.validation import check_profile_changes


class CannotRename(Exception):
    """The user keeps their names; the message says why."""


def verify(verifier: TokenVerifier, authorization: str | None) -> TokenClaims:
    """The claims of the token in an Authorization header. Raises Unauthenticated, Unavailable."""
    try:
        return verifier.verify(authorization)
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


@as_service_errors()
def authenticate(
    verifier: TokenVerifier,
    users: UserDirectory,
    newcomers: Newcomers,
    *,
    authorization: str | None,
    max_age: float = CACHED_SECONDS,
) -> User:
    """The user of an Authorization header. Provisions a user who signed up and has no row in Postgres.

    This process's copy of the user must not be older than `max_age` seconds.
    Raises Unauthenticated, Forbidden if the user of a valid token cannot get a row, Unavailable.
    """
    claims = verify(verifier, authorization)
    account = users.account("sub", claims.sub, max_age=max_age)
    if account is None:
        newcomers.provision(claims, bearer_token(authorization))
        account = users.account("sub", claims.sub)  # a row that waited for its user may be disabled
    if account is None or account.refuses(claims.iat):
        raise Unauthenticated(Code.TOKEN_REVOKED)
    return account.user


def cognito_attributes(user_info: UserInfo, verified_token: str) -> dict[str, str]:
    """The attributes of the token's user. Raises Unauthenticated for a revoked token, Forbidden, Unavailable."""
    if USER_INFO_SCOPE not in scopes(verified_token):
        raise Forbidden(Code.USER_NOT_FOUND)
    try:
        return user_info.attributes(verified_token)
    except TokenRevoked as error:
        raise Unauthenticated(Code.TOKEN_INVALID) from error
    except CognitoError as error:
        raise Unavailable(Code.IDENTITY_PROVIDER_UNAVAILABLE) from error


@as_service_errors()
def short_profile(users: UserDirectory, *, handle: str) -> User:
    """The public profile of a user. Raises NotFound, Unavailable."""
    user = users.profile(handle)
    if user is None:
        raise NotFound(Code.USER_NOT_FOUND)
    return user


@as_service_errors()
def profile_by_uuid(users: UserDirectory, *, uuid: str) -> User:
    """The public profile of a user. Raises NotFound, Unavailable."""
    account = users.account("uuid", uuid.lower())
    if account is None:
        raise NotFound(Code.USER_NOT_FOUND)
    return account.user


@as_service_errors()
def show_own_profile(users: UserDirectory, *, user: User) -> Profile:
    """The caller's profile. Raises Forbidden if the row is gone, Unavailable."""
    return _require_row(users.own_profile(user.uuid))


@as_service_errors()
def change_own_profile(
    users: UserDirectory, *, user: User, body: object, matches: Callable[[Profile], bool]
) -> Profile:
    """Change the caller's `display_name`, `accepts_messages_from` or both; return the new profile.

    `body` is the parsed JSON, of any type. Changes nothing unless the present profile `matches`. The handle never
    changes. Raises Invalid, PreconditionFailed, Forbidden if the row is gone, Unavailable.
    """
    changes = check_profile_changes(body)

    def check(profile: Profile) -> None:
        if not matches(profile):
            raise PreconditionFailed(Code.PRECONDITION_FAILED)

    profile = users.change_profile(
        user.uuid,
        display_name=changes.display_name,
        accepts_messages_from=changes.accepts_messages_from,
        check=check,
    )
    return _require_row(profile)


def _require_row(profile: Profile | None) -> Profile:
    if profile is None:
        raise Forbidden(Code.USER_NOT_FOUND)
    return profile


def rename_user(users: UserDirectory, old_handle: str, *, handle: str | None, display_name: str | None) -> User:
    """Rename the user with the handle `old_handle`, in any spelling, and return them. A name that is None stays.

    For scripts; clients cannot rename. Raises CannotRename, DatabaseUnavailable.
    """
    if handle is None and display_name is None:
        raise CannotRename("Give a new handle, a new display name, or both")
    if handle is not None and names.handle_key(handle) is None:
        raise CannotRename(names.HANDLE_RULE)
    if display_name is not None and (display_name := names.display_name(display_name)) is None:
        raise CannotRename(names.DISPLAY_NAME_RULE)
    try:
        user = users.rename(old_handle, handle=handle, display_name=display_name)
    except HandleTaken as error:
        reason = "has" if handle and users.by_handle(handle) else "gave up within 30 days"
        raise CannotRename(f"Another user {reason} the handle {handle}: nothing was changed") from error
    if user is None:
        raise CannotRename(f"No user has the handle {old_handle}")
    log("user_renamed", user_uuid=user.uuid)
    return user
