"""The local stack's user pool: the pool, its app client and its users, made once and found again.

It works on an emulator alone: it sets passwords that are known to everybody. Who the users are, its callers say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

POOL_NAME = "cruddur"
CLIENT_NAME = "cruddur-web"
PASSWORD = "Cruddur-1234"  # noqa: S105 - everybody's, on an emulator. No character that a shell would read


@dataclass(frozen=True, slots=True)
class LocalPool:
    """The ids that a front end and the API are configured with."""

    user_pool_id: str
    client_id: str


def ensure_pool(client: Any) -> LocalPool:
    """The pool and an app client without a secret that signs in with user name and password."""
    pool_id = _find_or_make(
        lambda: ((each["Name"], each["Id"]) for each in client.list_user_pools(MaxResults=60)["UserPools"]),
        POOL_NAME,
        lambda: client.create_user_pool(PoolName=POOL_NAME, AutoVerifiedAttributes=["email"])["UserPool"]["Id"],
    )
    client_id = _find_or_make(
        lambda: (
            (each["ClientName"], each["ClientId"])
            for each in client.list_user_pool_clients(UserPoolId=pool_id, MaxResults=60)["UserPoolClients"]
        ),
        CLIENT_NAME,
        lambda: client.create_user_pool_client(
            UserPoolId=pool_id,
            ClientName=CLIENT_NAME,
            GenerateSecret=False,
            ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        )["UserPoolClient"]["ClientId"],
    )
    return LocalPool(pool_id, client_id)


def ensure_user(client: Any, pool: LocalPool, *, handle: str, display_name: str, email: str) -> str:
    """A confirmed user whose name is the handle and whose password is PASSWORD; its `sub`."""
    try:
        found = client.admin_get_user(UserPoolId=pool.user_pool_id, Username=handle)["UserAttributes"]
    except client.exceptions.UserNotFoundException:
        attributes = {"email": email, "email_verified": "true", "name": display_name, "preferred_username": handle}
        found = client.admin_create_user(
            UserPoolId=pool.user_pool_id,
            Username=handle,
            UserAttributes=[{"Name": name, "Value": value} for name, value in attributes.items()],
            MessageAction="SUPPRESS",
        )["User"]["Attributes"]
        client.admin_set_user_password(UserPoolId=pool.user_pool_id, Username=handle, Password=PASSWORD, Permanent=True)
    return {each["Name"]: str(each["Value"]) for each in found}["sub"]


def _find_or_make(named: Callable[[], Iterator[tuple[str, str]]], name: str, make: Callable[[], str]) -> str:
    return dict(named()).get(name) or make()
