"""The directory in Postgres: finding users by handle, and linking them to Cognito users."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lib.identity.cognito import PoolUser
from lib.postgres.database import Database
from lib.users.directory import LinkResult, User, UserDirectory, link_cognito_users
from tools.postgres.migrations import migrate
from tools.seed.conversation import seed_users

AUGUSTSZ = User("76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "Augustsz", "Augustsz")


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database of this test's own, with the seeded users."""
    url = new_database()
    migrate(url)
    with Database(url, pool_size=8) as database:
        seed_users(database)
        yield database


def link(database: Database, **subs: str) -> LinkResult:
    return link_cognito_users(database, [pool_user(sub, handle) for handle, sub in subs.items()])


def pool_user(sub: str, handle: str | None, *, username: str = "someone") -> PoolUser:
    return PoolUser(username=username, sub=sub, preferred_username=handle, email=None, status="CONFIRMED", enabled=True)


def ids(database: Database) -> dict[str, str | None]:
    return {row["handle"]: row["cognito_user_id"] for row in database.all("users/all")}


def test_user_is_found_by_exact_handle(database: Database) -> None:
    users = UserDirectory(database)
    assert users.by_handle("Augustsz") == AUGUSTSZ
    assert users.by_handle("augustsz") is None
    assert users.by_handle("nobody") is None


def test_linking_again_changes_nothing(database: Database) -> None:
    assert link(database, Augustsz="1", bayko="2", londo="3").changed == 3
    again = link(database, Augustsz="1", bayko="2", londo="3")
    assert (again.changed, again.unchanged) == (0, 3)


def test_exchanged_ids_are_linked(database: Database) -> None:
    link(database, Augustsz="1", bayko="2", londo="3")
    link(database, Augustsz="2", bayko="3", londo="1")
    assert ids(database) == {"Augustsz": "2", "bayko": "3", "londo": "1"}


def test_moved_id_leaves_its_old_user(database: Database) -> None:
    link(database, Augustsz="1", bayko="2")
    link(database, londo="1")
    assert ids(database) == {"Augustsz": None, "bayko": "2", "londo": "1"}


def test_new_pool_is_linked(database: Database) -> None:
    link(database, Augustsz="1", bayko="2", londo="3")
    assert link(database, Augustsz="4", bayko="5", londo="6").changed == 3


def test_users_without_a_match_are_listed_without_their_email(database: Database) -> None:
    result = link_cognito_users(
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
    assert result == LinkResult(
        changed=1,
        unchanged=0,
        ambiguous=["bayko"],
        without_cognito_user=["londo"],
        without_row=["6", "ghost", "plain"],
    )
    assert ids(database) == {"Augustsz": "1", "bayko": None, "londo": None}
