"""Cognito ids that a test writes to rows of Postgres."""

from __future__ import annotations

from lib.postgres.database import Queries


def write_cognito_ids(queries: Queries, **subs: str) -> int:
    """Give the users with these handles these ids; return how many rows changed."""
    rows = {row["handle"]: row for row in queries.all("users/all")}
    return queries.execute(
        "users/set_cognito_user_ids",
        uuids=[rows[handle]["uuid"] for handle in subs],
        old_ids=[rows[handle]["cognito_user_id"] for handle in subs],
        subs=list(subs.values()),
    )
