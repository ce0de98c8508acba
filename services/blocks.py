"""Blocks: a user blocks another one, unblocks them, and lists the users whom they block."""

from __future__ import annotations

from dataclasses import replace

from lib.ddb.blocks import Blocks
from lib.ddb.items import Block
from lib.ddb.queries import Page
from lib.users.accounts import User
from lib.users.directory import UserDirectory
from services.current_names import name_blocked
from services.errors import Code, Invalid, NotFound, as_service_errors
from services.validation import check_limit


@as_service_errors()
def block_user(blocks: Blocks, users: UserDirectory, *, user: User, handle: str) -> None:
    """Block the user with this handle; a second call changes nothing. Raises Invalid, NotFound, Unavailable.

    In inline mode, no message of the two is stored after this function has returned.
    """
    blocks.add(user=user, other=_other(users, user, handle))


@as_service_errors()
def unblock_user(blocks: Blocks, users: UserDirectory, *, user: User, handle: str) -> None:
    """Unblock the user with this handle; without a block, change nothing. Raises Invalid, NotFound, Unavailable."""
    blocks.remove(user=user, other=_other(users, user, handle))


@as_service_errors()
def list_blocks(
    blocks: Blocks, users: UserDirectory, *, user: User, limit: str | None, cursor: str | None
) -> Page[Block]:
    """A page of the users whom the user blocks. `limit` is 1 to `MAX_LIMIT`, as text. Raises Invalid, Unavailable."""
    page = blocks.page(user_uuid=user.uuid, limit=check_limit(limit), cursor=cursor)
    return replace(page, items=name_blocked(users, page.items))


def _other(users: UserDirectory, user: User, handle: str) -> User:
    other = users.by_handle(handle)
    if other is None:
        raise NotFound(Code.USER_NOT_FOUND)
    if other.uuid == user.uuid:
        raise Invalid(Code.USER_IS_CALLER)
    return other
