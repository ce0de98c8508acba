"""Who signed up with Cognito becomes a user: when they confirm it, or at their first request if that went wrong."""

from __future__ import annotations

from collections.abc import Mapping

from lib.logs import log
from lib.users.directory import HandleTaken, SignUp, User, UserDirectory
from services.errors import Code, Forbidden, as_service_errors


def provision_user(users: UserDirectory, attributes: Mapping[str, str]) -> User:
    """The user whom Cognito describes by its standard attributes; they get a row unless they have one.

    Their handle is `preferred_username`, and their display name `name`, or the handle if they gave none. Doing it
    again changes nothing. Raises Unavailable, and Forbidden: HANDLE_TAKEN, or USER_NOT_FOUND if attributes are missing
    or too long, or the handle has characters that nobody sees.
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
            user, outcome = users.provision(sign_up)
        except HandleTaken as error:
            raise Forbidden(Code.HANDLE_TAKEN) from error
    log("user_provisioned", sub=sign_up.cognito_user_id, user_uuid=user.uuid, outcome=outcome)
    return user
