"""Finds users and members by handle or uuid. For the arguments of scripts; clients send tokens."""

from __future__ import annotations

from collections.abc import Callable

from lib.ddb.store import MessageStore
from lib.postgres.database import Database
from lib.users.directory import User, UserDirectory
from services.validation import is_uuid


class NobodyFound(Exception):
    """There is no such user, member or conversation; the message says which one."""


def find_user(who: str, database: Callable[[], Database]) -> User:
    """The user with a handle or uuid. Opens `database` only for a handle; does not check that a uuid has a user.

    Raises NobodyFound, DatabaseUnavailable.
    """
    if is_uuid(who):
        return User(uuid=who.lower(), handle=who, display_name=who)
    with database() as users:
        return find_by_handle(UserDirectory(users), who)


def find_by_handle(users: UserDirectory, handle: str) -> User:
    """The user with this handle. Raises NobodyFound, DatabaseUnavailable."""
    user = users.by_handle(handle)
    if user is None:
        raise NobodyFound(f"No user has the handle {handle}")
    return user


def find_member(store: MessageStore, group_uuid: str, who: str | None) -> User:
    """The member with the handle or uuid `who`; None: any member. Raises NobodyFound, StoreUnavailable."""
    group_uuid = group_uuid.lower()
    members = store.conversations.members(group_uuid=group_uuid) if is_uuid(group_uuid) else []
    if not members:
        raise NobodyFound(f"There is no conversation {group_uuid}")
    for user in members:
        if who in (None, user.handle, user.uuid):
            return user
    raise NobodyFound(f"{who} is no member of {group_uuid}: the API returns a 404")
