"""The Cognito user pool: users and access tokens for scripts, the attributes of a token's user for the API.

This module translates botocore's errors into CognitoError. lib/identity/tokens.py verifies tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from lib.aws.connections import Connections
from lib.aws.endpoints import ca_bundle, endpoint_url
from lib.aws.errors import NoResponse
from lib.circuit_breaker import CircuitBreaker, CircuitOpen
from lib.config import CognitoSettings
from lib.deadline import pause

_PAGE = 60  # the most users that ListUsers returns

_TRIES = 2
_TRY_SECONDS = 2.0  # meanwhile, a client's request waits
_GET_USER = {
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Target": "AWSCognitoIdentityProviderService.GetUser",
}

USER_INFO_SCOPE = "aws.cognito.signin.user.admin"
_TOKEN_REFUSALS = frozenset(
    {"NotAuthorizedException", "PasswordResetRequiredException", "UserNotConfirmedException", "UserNotFoundException"}
)


class CognitoError(Exception):
    """The user pool is unavailable, or refuses the request."""


class TokenRevoked(CognitoError):
    """The token was valid, but has been revoked, or its user was disabled or deleted."""


@dataclass(frozen=True, slots=True)
class PoolUser:
    """A user of the pool."""

    username: str
    sub: str
    preferred_username: str | None
    email: str | None
    email_verified: bool
    status: str
    enabled: bool

    @property
    def sign_in_name(self) -> str:
        """A user name for sign-in. In a pool whose user names are `sub`s, users sign in by e-mail address."""
        return self.email if self.email and self.username == self.sub else self.username

    @property
    def label(self) -> str:
        """A name for reports. It is never an e-mail address, although some pools use addresses as user names."""
        return self.preferred_username or (self.sub if "@" in self.username else self.username)

    def has_confirmed(self, email: str) -> bool:
        """Whether the user has confirmed their sign-up, and Cognito has verified that this address is theirs."""
        return self.status == "CONFIRMED" and self.email_verified and self.email == email


class UserPool:
    """One user pool; the first call creates its client."""

    def __init__(self, settings: CognitoSettings) -> None:
        self._settings = settings

    def users(self) -> Iterator[PoolUser]:
        """Every user, page by page."""
        with self._translated():
            pages = self._client.get_paginator("list_users").paginate(
                UserPoolId=self._settings.aws_cognito_user_pool_id, PaginationConfig={"PageSize": _PAGE}
            )
            for page in pages:
                yield from map(_to_pool_user, page["Users"])

    def update_attributes(self, sub: str, attributes: Mapping[str, str]) -> None:
        """Change these attributes of the user with this `sub`."""
        pairs = [{"Name": name, "Value": value} for name, value in attributes.items()]
        with self._translated():
            self._client.admin_update_user_attributes(
                UserPoolId=self._settings.aws_cognito_user_pool_id, Username=sub, UserAttributes=pairs
            )

    def disable(self, sub: str) -> None:
        """Stop the user with this `sub` from signing in, and revoke their access tokens."""
        with self._translated():
            self._client.admin_disable_user(UserPoolId=self._settings.aws_cognito_user_pool_id, Username=sub)

    def enable(self, sub: str) -> None:
        """Let the user with this `sub` sign in again."""
        with self._translated():
            self._client.admin_enable_user(UserPoolId=self._settings.aws_cognito_user_pool_id, Username=sub)

    def sign_out(self, sub: str) -> None:
        """Revoke all tokens of the user with this `sub`."""
        with self._translated():
            self._client.admin_user_global_sign_out(UserPoolId=self._settings.aws_cognito_user_pool_id, Username=sub)

    def sign_in(self, username: str, password: str) -> str:
        """An access token."""
        with self._translated():
            response = self._client.initiate_auth(
                AuthFlow="USER_PASSWORD_AUTH",
                ClientId=self._settings.aws_cognito_user_pool_client_id,
                AuthParameters={"USERNAME": username, "PASSWORD": password},
            )
        if "AuthenticationResult" not in response:
            raise CognitoError(f"Cognito wants more than a password from {username}: {response.get('ChallengeName')}")
        return str(response["AuthenticationResult"]["AccessToken"])

    @cached_property
    def _client(self) -> Any:
        import boto3  # only scripts need it

        return boto3.client(
            "cognito-idp",
            region_name=_region(self._settings),
            endpoint_url=self._settings.aws_endpoint_url_cognito_identity_provider,
            config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 3}),
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise CognitoError(f"Cognito user pool {self._settings.aws_cognito_user_pool_id}: {error}") from error


class UserInfo:
    """Reads a user's attributes from Cognito by an access token that has USER_INFO_SCOPE among its scopes.

    A circuit breaker refuses requests while Cognito does not respond.
    """

    def __init__(self, settings: CognitoSettings, *, pool_size: int = 1) -> None:
        """At most `pool_size` threads wait for Cognito at a time.

        Raises SettingsError if a proxy is set or the CA bundle is unreadable.
        """
        session, region = get_session(), _region(settings)
        configured = settings.aws_endpoint_url_cognito_identity_provider
        url = endpoint_url(session, "cognito-idp", region, configured=configured)
        self._connections = Connections(url, pool_size=pool_size, ca_bundle=ca_bundle(session))
        self._breaker = CircuitBreaker("cognito", lambda error: isinstance(error, NoResponse), limit=pool_size)

    def attributes(self, access_token: str) -> dict[str, str]:
        """The user's attributes, by their names at Cognito. Raises TokenRevoked, CognitoError."""
        body = orjson.dumps({"AccessToken": access_token})
        for attempt in range(_TRIES):
            try:
                with self._breaker.call():
                    status, _, content = self._connections.post(_GET_USER, body, seconds=_TRY_SECONDS)
                response = orjson.loads(content)
                if status == 200:
                    return attributes_by_name(response["UserAttributes"])
                code = str(response["__type"]).rpartition("#")[2]
            except (CircuitOpen, NoResponse, ValueError, KeyError, TypeError) as error:
                status, code = 503, type(error).__name__
            if status < 500:
                break
            pause(attempt)
        raise (TokenRevoked if code in _TOKEN_REFUSALS else CognitoError)(f"GetUser: {code}")


def _region(settings: CognitoSettings) -> str:
    """The pool's region, which may differ from the table's."""
    return settings.aws_cognito_user_pool_id.partition("_")[0]


def _to_pool_user(user: dict[str, Any]) -> PoolUser:
    attributes = attributes_by_name(user["Attributes"])
    return PoolUser(
        username=user["Username"],
        sub=attributes["sub"],
        preferred_username=attributes.get("preferred_username"),
        email=attributes.get("email"),
        email_verified=attributes.get("email_verified") == "true",
        status=user["UserStatus"],
        enabled=user["Enabled"],
    )


def attributes_by_name(pairs: list[dict[str, str]]) -> dict[str, str]:
    """A user's attributes as Cognito lists them, as a dict."""
    return {attribute["Name"]: attribute["Value"] for attribute in pairs if "Value" in attribute}
