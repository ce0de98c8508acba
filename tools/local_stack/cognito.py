"""The local stack's user pool, app client and users.

Use it with an emulator only: the users' password is public.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lib.identity.cognito import UserPool, attributes_by_name

POOL_NAME = "cruddur"
CLIENT_NAME = "cruddur-web"
PASSWORD = "Cruddur-1234"  # noqa: S105 - public; no shell expands a character of it

MAX_DEMO_USERS = 4

# The pool of aws/cfn/messaging.yaml takes the e-mail address as user name. This one takes the handle, too: AWS refuses
# both at once, the emulator does not.
_USER_NAMES = {
    "UsernameAttributes": ["email"],
    "AliasAttributes": ["preferred_username"],
    "AutoVerifiedAttributes": ["email"],
}
# The flows of the template's client, and the one by which scripts send a password.
_FLOWS = ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_PASSWORD_AUTH"]


@dataclass(frozen=True, slots=True)
class LocalPool:
    """The ids in the settings of the API and of a front end."""

    user_pool_id: str
    client_id: str


def demo_settings(handles: Sequence[str]) -> dict[str, str]:
    """The settings with which the page offers the first of these users for sign-in."""
    return {"DEMO_USERS": ",".join(handles[:MAX_DEMO_USERS]), "DEMO_PASSWORD": PASSWORD}


def ensure_pool(client: Any) -> LocalPool:
    """Find or create the pool and its app client; an app client that exists gets these sign-in flows."""
    pools = {pool["Name"]: pool["Id"] for pool in client.list_user_pools(MaxResults=60)["UserPools"]}
    pool_id = pools.get(POOL_NAME)
    if pool_id is None:
        pool_id = client.create_user_pool(PoolName=POOL_NAME, **_USER_NAMES)["UserPool"]["Id"]
    apps = client.list_user_pool_clients(UserPoolId=pool_id, MaxResults=60)["UserPoolClients"]
    client_id = {app["ClientName"]: app["ClientId"] for app in apps}.get(CLIENT_NAME)
    if client_id is None:
        app = client.create_user_pool_client(UserPoolId=pool_id, ClientName=CLIENT_NAME, ExplicitAuthFlows=_FLOWS)
        client_id = app["UserPoolClient"]["ClientId"]
    else:
        client.update_user_pool_client(UserPoolId=pool_id, ClientId=client_id, ExplicitAuthFlows=_FLOWS)
    return LocalPool(pool_id, client_id)


def ensure_users(client: Any, pool: LocalPool, users: Sequence[Mapping[str, Any]], directory: UserPool) -> None:
    """Create a Cognito user for each user of Postgres without one. `users` are the rows of `users/all`.

    A Cognito user belongs to the row with their `sub`. If no row has it, they belong to the row with their handle.
    A row whose e-mail address cannot be a user name gets no Cognito user.
    """
    pool_users = list(directory.users())
    subs = {user.sub for user in pool_users}
    linked = {user["cognito_user_id"] for user in users} & subs
    handles = {user.preferred_username for user in pool_users if user.sub not in linked}
    for user in users:
        if user["cognito_user_id"] not in subs and user["handle"] not in handles:
            with suppress(client.exceptions.InvalidParameterException):
                ensure_user(client, pool, **{name: user[name] for name in ("handle", "display_name", "email")})


def ensure_user(client: Any, pool: LocalPool, *, handle: str, display_name: str, email: str) -> str:
    """Find or create a confirmed user with this e-mail address; return the `sub`. A new user gets PASSWORD."""
    names = {"handle": handle, "display_name": display_name, "email": email}
    try:
        user = client.admin_get_user(UserPoolId=pool.user_pool_id, Username=email)
    except client.exceptions.UserNotFoundException:
        return create_user(client, pool.user_pool_id, **names, password=PASSWORD)["sub"]
    return attributes_by_name(user["UserAttributes"])["sub"]


def create_user(
    client: Any, pool_id: str, *, handle: str, display_name: str, email: str, password: str
) -> dict[str, str]:
    """Create a confirmed user with a verified e-mail address; return the attributes, with the `sub`."""
    values = {"email": email, "email_verified": "true", "name": display_name, "preferred_username": handle}
    created = client.admin_create_user(
        UserPoolId=pool_id,
        Username=email,
        UserAttributes=[{"Name": name, "Value": value} for name, value in values.items()],
        TemporaryPassword=password,
        MessageAction="SUPPRESS",
    )
    client.admin_set_user_password(UserPoolId=pool_id, Username=email, Password=password, Permanent=True)
    return attributes_by_name(created["User"]["Attributes"])
