"""Users in Postgres: found by handle and by Cognito id, and linked to the Cognito users."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lib.identity.cognito import PoolUser
from lib.postgres.database import Database
from lib.users.directory import Link, User, UserDirectory, link_cognito_users
from tools.seed.conversation import seed_users

AUGUSTSZ = User("76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "Augustsz", "Augustsz")


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database of this test's own, with the seeded users."""
    with Database(new_database()) as made:
        made.script("db/schema.sql")
        seed_users(made)
        yield made


def link(database: Database, **subs: str) -> Link:
    return link_cognito_users(database, [pool_user(sub, handle) for handle, sub in subs.items()])


def pool_user(sub: str, handle: str | None, *, username: str = "someone") -> PoolUser:
    return PoolUser(username=username, sub=sub, preferred_username=handle, email=None, status="CONFIRMED", enabled=True)


def ids(database: Database) -> dict[str, str | None]:
    return {row["handle"]: row["cognito_user_id"] for row in database.all("users/all")}


def test_a_user_is_found_by_handle_exactly(database: Database) -> None:
    users = UserDirectory(database)
    assert users.by_handle("Augustsz") == AUGUSTSZ
    assert users.by_handle("augustsz") is None
    assert users.by_handle("nobody") is None


@pytest.mark.parametrize("text", ["", "a\0b", "\ud800", "x" * 256, "é" * 100_000, "'; DROP TABLE users; --"])
def test_text_that_no_row_can_hold_is_nobody(database: Database, text: str) -> None:
    users = UserDirectory(database)
    assert users.by_handle(text) is None
    assert users.by_cognito_user_id(text) is None


def test_who_signed_in_is_remembered_for_a_minute_and_no_longer(database: Database) -> None:
    now = 0.0
    users = UserDirectory(database, timer=lambda: now)
    link(database, Augustsz="sub-1")
    assert users.by_cognito_user_id("sub-1") == AUGUSTSZ
    link(database, Augustsz="sub-2")
    now = 59.0
    assert users.by_cognito_user_id("sub-1") == AUGUSTSZ
    now = 60.0
    assert users.by_cognito_user_id("sub-1") is None


def test_who_is_unknown_is_asked_for_again(database: Database) -> None:
    users = UserDirectory(database)
    assert users.by_cognito_user_id("sub-1") is None
    link(database, Augustsz="sub-1")
    assert users.by_cognito_user_id("sub-1") == AUGUSTSZ


def test_who_signed_in_needs_no_postgres(database: Database) -> None:
    users = UserDirectory(database)
    link(database, Augustsz="sub-1")
    users.by_cognito_user_id("sub-1")
    database.close()
    assert users.by_cognito_user_id("sub-1") == AUGUSTSZ


def test_linking_again_changes_nothing(database: Database) -> None:
    assert link(database, Augustsz="1", bayko="2", londo="3").changed == 3
    again = link(database, Augustsz="1", bayko="2", londo="3")
    assert (again.changed, again.unchanged) == (0, 3)


def test_subs_that_went_round_in_a_circle_are_linked(database: Database) -> None:
    link(database, Augustsz="1", bayko="2", londo="3")
    link(database, Augustsz="2", bayko="3", londo="1")
    assert ids(database) == {"Augustsz": "2", "bayko": "3", "londo": "1"}


def test_an_id_that_is_another_users_by_now_is_taken_from_who_had_it(database: Database) -> None:
    link(database, Augustsz="1", bayko="2")
    link(database, londo="1")
    assert ids(database) == {"Augustsz": None, "bayko": "2", "londo": "1"}


def test_a_pool_that_was_made_anew_is_linked(database: Database) -> None:
    link(database, Augustsz="1", bayko="2", londo="3")
    assert link(database, Augustsz="4", bayko="5", londo="6").changed == 3


def test_who_matches_nobody_is_told_on_both_sides_without_an_email(database: Database) -> None:
    done = link_cognito_users(
        database,
        [
            pool_user("1", "Augustsz"),
            pool_user("2", "bayko"),
            pool_user("3", "bayko"),
            pool_user("4", "ghost"),
            pool_user("5", None, username="plain"),
            pool_user("6", None, username="somebody@example.com"),
        ],
    )
    assert done == Link(
        changed=1,
        unchanged=0,
        ambiguous=["bayko"],
        without_cognito_user=["londo"],
        without_row=["6", "ghost", "plain"],
    )
    assert ids(database) == {"Augustsz": "1", "bayko": None, "londo": None}
