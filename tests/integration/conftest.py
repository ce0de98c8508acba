"""Cognito for the integration tests: ministack's, with the pool and the client of the local stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from lib.local.cognito import LocalPool, ensure_pool


@pytest.fixture(scope="session")
def cognito_client(ministack_url: str) -> Iterator[Any]:
    """A boto3 client of Cognito."""
    client = boto3.client("cognito-idp", endpoint_url=ministack_url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def user_pool(cognito_client: Any) -> LocalPool:
    """The local stack's pool; `ensure_user` puts users into it."""
    return ensure_pool(cognito_client)
