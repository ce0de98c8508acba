"""The user pool of a test, and Cognito ids that it writes to rows of Postgres."""

from __future__ import annotations

import pytest

from lib.postgres.database import Queries
from tools.local_stack.cognito import LocalPool


def use_pool(pool: LocalPool, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a pool."""
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", pool.user_pool_id)
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_CLIENT_ID", pool.client_id)
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", endpoint)


def write_cognito_ids(queries: Queries, **subs: str) -> int:
    """Give the users with these handles these ids; return how many rows changed."""
    rows = {row["handle"]: row for row in queries.all("users/all")}
    return queries.execute(
        "users/set_cognito_user_ids",
        uuids=[rows[handle]["uuid"] for handle in subs],
        old_ids=[rows[handle]["cognito_user_id"] for handle in subs],
        subs=list(subs.values()),
    )
