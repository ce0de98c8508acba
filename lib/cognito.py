"""The Cognito user pool: for scripts, who is in it, and an access token of one of them; for the API, whose a token is.

botocore's errors become CognitoError here and nowhere else. Verifying tokens is lib/auth.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lib.config import CognitoSettings

_PAGE = 60  # the most that ListUsers gives at once

# A try takes at most two seconds, as a request waits for it.
_CONNECT_TIMEOUT_SECONDS = 0.5
_READ_TIMEOUT_SECONDS = 1.5
_TRIES = 2

USER_INFO_SCOPE = "aws.cognito.signin.user.admin"
_TOKEN_REFUSALS = frozenset(
    {"NotAuthorizedException", "PasswordResetRequiredException", "UserNotConfirmedException", "UserNotFoundException"}
)


class CognitoError(Exception):
    """The user pool does not answer, or refuses."""


class TokenRevoked(CognitoError):
    """The token was valid once; since then it was revoked, or its user disabled or deleted."""


@dataclass(frozen=True, slots=True)
class PoolUser:
    """A user as the pool knows them."""

    username: str
    sub: str
    preferred_username: str | None
    email: str | None
    status: str
    enabled: bool

    @property
    def label(self) -> str:
        """A name for reports; never the e-mail address, which some pools take as the user name."""
        return self.preferred_username or (self.sub if "@" in self.username else self.username)


class UserPool:
    """One user pool; its client is made by the first call."""

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

    def sign_in(self, username: str, password: str) -> str:
        """An access token."""
        with self._translated():
            answer = self._client.initiate_auth(
                AuthFlow="USER_PASSWORD_AUTH",
                ClientId=self._settings.aws_cognito_user_pool_client_id,
                AuthParameters={"USERNAME": username, "PASSWORD": password},
            )
        if "AuthenticationResult" not in answer:
            raise CognitoError(f"Cognito asks {username} for more than a password: {answer.get('ChallengeName')}")
        return str(answer["AuthenticationResult"]["AccessToken"])

    @cached_property
    def _client(self) -> Any:
        limits = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 3})
        return _connect(self._settings, limits)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise CognitoError(f"Cognito user pool {self._settings.aws_cognito_user_pool_id}: {error}") from error


class UserInfo:
    """What a user's access token, with USER_INFO_SCOPE among its scopes, lets Cognito tell about them.

    The client is made by the first call: a process that meets nobody new does without.
    """

    def __init__(self, settings: CognitoSettings) -> None:
        self._settings = settings

    def attributes(self, access_token: str) -> dict[str, str]:
        """The user's attributes, by their names at Cognito. Raises TokenRevoked, CognitoError."""
        try:
            user = self._client.get_user(AccessToken=access_token)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise (TokenRevoked if code in _TOKEN_REFUSALS else CognitoError)(f"GetUser: {code}") from error
        except BotoCoreError as error:
            raise CognitoError(f"GetUser: {type(error).__name__}") from error
        return _attributes(user["UserAttributes"])

    @cached_property
    def _client(self) -> Any:
        limits = Config(
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            read_timeout=_READ_TIMEOUT_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
        )
        return _connect(self._settings, limits)


def _connect(settings: CognitoSettings, limits: Config) -> Any:
    """A client in the pool's region, which need not be the table's."""
    session = botocore.session.get_session()
    client = session.create_client(
        "cognito-idp",
        region_name=settings.aws_cognito_user_pool_id.partition("_")[0],
        endpoint_url=settings.aws_endpoint_url_cognito_identity_provider,
        config=limits,
    )
    session.get_component("data_loader")._cache.clear()  # 7 MB of every service's endpoints
    return client


def _to_pool_user(user: dict[str, Any]) -> PoolUser:
    attributes = _attributes(user["Attributes"])
    return PoolUser(
        username=user["Username"],
        sub=attributes["sub"],
        preferred_username=attributes.get("preferred_username"),
        email=attributes.get("email"),
        status=user["UserStatus"],
        enabled=user["Enabled"],
    )


def _attributes(listed: list[dict[str, str]]) -> dict[str, str]:
    return {each["Name"]: each["Value"] for each in listed if "Value" in each}
