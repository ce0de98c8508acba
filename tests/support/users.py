"""Users in Postgres, whom the tests' tokens sign in."""

from __future__ import annotations

import psycopg

from lib.users.accounts import User


def add_users(database_url: str, *users: User) -> None:
    """Put users into Postgres, each with the `sub` of the tests' tokens."""
    with psycopg.connect(database_url) as connection:
        connection.cursor().executemany(
            "INSERT INTO users (uuid, handle, display_name, email, cognito_user_id) VALUES (%s, %s, %s, %s, %s)",
            [
                (user.uuid, user.handle, user.display_name, f"{user.handle}@example.com", f"sub-{user.uuid}")
                for user in users
            ],
        )
