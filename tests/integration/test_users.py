"""The directory in Postgres: finding users by handle."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lib.postgres.database import Database
from lib.users.accounts import User
from lib.users.directory import UserDirectory
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


def test_user_is_found_by_exact_handle(database: Database) -> None:
    users = UserDirectory(database)
    assert users.by_handle("Augustsz") == AUGUSTSZ
    assert users.by_handle("nobody") is None
