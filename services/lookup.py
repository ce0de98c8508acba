"""Finds users and members by handle or uuid, for the arguments of scripts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from lib.ddb.store import MessageStore
from lib.postgres.database import Database
from lib.users.accounts import User
from lib.users.directory import UserDirectory
from lib.users.names import handle_key
from services.validation import is_uuid


class NobodyFound(Exception):
    """There is no such user, member or conversation; the message says which one."""


def find_user(handle_or_uuid: str, database: Callable[[], Database]) -> User:
    """The user with a handle or uuid. Opens `database` only for a handle; does not check that a uuid has a user.

    Raises NobodyFound, DatabaseUnavailable.
    """
    if is_uuid(handle_or_uuid):
        return User(uuid=handle_or_uuid.lower(), handle=handle_or_uuid, display_name=handle_or_uuid)
    with database() as users:
        return find_by_handle(UserDirectory(users), handle_or_uuid)


def find_by_handle(users: UserDirectory, handle: str) -> User:
    """The user with this handle, in any spelling. Raises NobodyFound, DatabaseUnavailable."""
    user = users.by_handle(handle)
    if user is None:
        raise NobodyFound(f"No user has the handle {handle}")
    return user


def find_member(store: MessageStore, group_uuid: str, handle_or_uuid: str | None) -> User:
    """The member with this handle or uuid; None means any member. Raises NobodyFound, StoreUnavailable."""
    group_uuid = group_uuid.lower()
    members = store.conversations.members(group_uuid=group_uuid) if is_uuid(group_uuid) else []
    if not members:
        raise NobodyFound(f"There is no conversation {group_uuid}")
    key = handle_or_uuid and handle_key(handle_or_uuid)
    exact = (user for user in members if handle_or_uuid in (None, user.handle, user.uuid))
    other_spelling = (user for user in members if key and handle_key(user.handle) == key)
    for user in chain(exact, other_spelling):
        return user
    raise NobodyFound(f"{handle_or_uuid} is no member of {group_uuid}: the API returns a 404")
