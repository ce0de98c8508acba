"""Shared by the scripts that disable, enable and sign out a user in Cognito, in Postgres and in the shared cache."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lib.config import CognitoSettings, SettingsError, UsersSettings, load
from lib.identity.cognito import CognitoError, UserPool
from lib.postgres.database import FAILURES, Database
from lib.users.directory import AccessChange, UserDirectory
from services.lookup import NobodyFound, find_by_handle
from tools.cli import console
from tools.cli.databases import database_target, print_warnings, script_cache
from tools.local_stack.environment import is_emulator

EXPECTED = (NobodyFound, *FAILURES)
"""The errors that these scripts report in one line."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a script does: `action` is for its confirmation, `done` for its result.

    `calls` are its calls of Cognito, by the names of the commands that do the same.
    """

    action: str
    query: AccessChange
    calls: dict[str, Callable[[UserPool, str], None]]
    done: str


def change_access(change: Change, handle: str) -> int:
    """Change a user in Cognito and in Postgres; return the exit status, which is 1 if somebody must do the rest.

    Cognito comes first: the API accepts tokens that Cognito issues after the change of Postgres.
    """
    settings = load(UsersSettings)
    target = database_target(settings.database_url)
    console.confirm(change.action, target)
    shared = script_cache(settings, settings.database_url)
    with Database(settings.database_url) as database:
        users = UserDirectory(database, shared)
        user = find_by_handle(users, handle)
        row: Any = database.one("users/cognito_user_id", uuid=user.uuid)
        sub = row and row["cognito_user_id"]
        status = _change_cognito(change, sub, is_local=target.is_local) if sub else 0
        if not users.change_access(user.uuid, change.query):
            raise NobodyFound(f"The user {user.uuid} was deleted meanwhile")
    console.print_status(console.one_line(f"{user.uuid}: {user.handle} {change.done}"))
    return max(status, print_warnings(shared, settings))


def _change_cognito(change: Change, sub: str, *, is_local: bool) -> int:
    """Call Cognito. If a call fails, print the commands of the calls that are left, and return 1.

    The user pool of another system has no users of a local stack.
    """
    pool_id, done = "<user pool>", 0
    try:
        settings = load(CognitoSettings)
        pool_id = settings.aws_cognito_user_pool_id
        if is_local and not is_emulator(settings.aws_endpoint_url_cognito_identity_provider):
            raise CognitoError("The settings name no local stack's Cognito")
        for call in change.calls.values():
            call(UserPool(settings), sub)
            done += 1
    except (CognitoError, SettingsError) as error:
        console.print_status(console.one_line(f"Cognito did not do all of it. {error}"))
        console.print_status("Run the rest by hand:")
        for command in list(change.calls)[done:]:
            words = ["aws", "cognito-idp", command, "--user-pool-id", pool_id, "--username", sub]
            console.print_data(shlex.join(words))
        return 1
    return 0
