"""The local stack's user pool, app client and users.

Use it with an emulator only: the users' password is public.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lib.identity.cognito import UserPool

POOL_NAME = "cruddur"
CLIENT_NAME = "cruddur-web"
PASSWORD = "Cruddur-1234"  # noqa: S105 - public; has no character that a shell expands


@dataclass(frozen=True, slots=True)
class LocalPool:
    """The ids in the settings of the API and of a front end."""

    user_pool_id: str
    client_id: str


def ensure_pool(client: Any) -> LocalPool:
    """Find or create the pool and an app client. The client has no secret and takes a user name and a password."""
    pools = {pool["Name"]: pool["Id"] for pool in client.list_user_pools(MaxResults=60)["UserPools"]}
    pool_id = pools.get(POOL_NAME)
    if pool_id is None:
        pool_id = client.create_user_pool(PoolName=POOL_NAME, AutoVerifiedAttributes=["email"])["UserPool"]["Id"]
    apps = client.list_user_pool_clients(UserPoolId=pool_id, MaxResults=60)["UserPoolClients"]
    client_id = {app["ClientName"]: app["ClientId"] for app in apps}.get(CLIENT_NAME)
    if client_id is None:
        client_id = client.create_user_pool_client(
            UserPoolId=pool_id,
            ClientName=CLIENT_NAME,
            GenerateSecret=False,
            ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        )["UserPoolClient"]["ClientId"]
    return LocalPool(pool_id, client_id)


def ensure_users(client: Any, pool: LocalPool, users: Iterable[Mapping[str, str]], directory: UserPool) -> None:
    """Create a Cognito user for each user of Postgres without one. A user who signed up may have another user name."""
    handles = {user.preferred_username for user in directory.users()}
    for user in users:
        if user["handle"] not in handles:
            ensure_user(client, pool, **{name: user[name] for name in ("handle", "display_name", "email")})


def ensure_user(client: Any, pool: LocalPool, *, handle: str, display_name: str, email: str) -> str:
    """Find or create a confirmed user with the handle as user name; return the `sub`. A new user gets PASSWORD."""
    try:
        attributes = client.admin_get_user(UserPoolId=pool.user_pool_id, Username=handle)["UserAttributes"]
    except client.exceptions.UserNotFoundException:
        values = {"email": email, "email_verified": "true", "name": display_name, "preferred_username": handle}
        attributes = client.admin_create_user(
            UserPoolId=pool.user_pool_id,
            Username=handle,
            UserAttributes=[{"Name": name, "Value": value} for name, value in values.items()],
            MessageAction="SUPPRESS",
        )["User"]["Attributes"]
        client.admin_set_user_password(UserPoolId=pool.user_pool_id, Username=handle, Password=PASSWORD, Permanent=True)
    return {attribute["Name"]: str(attribute["Value"]) for attribute in attributes}["sub"]
