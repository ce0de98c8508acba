"""A user gets another handle, another display name, or both. For scripts; clients cannot do it."""

from __future__ import annotations

from lib.logs import log
from lib.users.directory import HandleTaken, User, UserDirectory, is_handle, is_text
from services.lookup import NobodyFound


class CannotRename(Exception):
    """Nothing was changed; the message says why."""


def rename_user(users: UserDirectory, who: str, *, handle: str | None, display_name: str | None) -> User:
    """The user with the handle `who` as they are from now on; None is left as it is. The same again changes nothing.

    Raises CannotRename, NobodyFound, DatabaseUnavailable.
    """
    if handle is None and display_name is None:
        raise CannotRename("Neither a new handle nor a new display name was given")
    if handle is not None and not is_handle(handle):
        raise CannotRename("A handle has 1 to 255 characters, all of which can be seen")
    if display_name is not None and not is_text(display_name):
        raise CannotRename("A display name has 1 to 255 characters and is not blank")
    try:
        user = users.rename(who, handle=handle, display_name=display_name)
    except HandleTaken as error:
        raise CannotRename(f"The handle {handle} is another user's: nothing was changed") from error
    if user is None:
        raise NobodyFound(f"No user has the handle {who}")
    log("user_renamed", user_uuid=user.uuid)
    return user
