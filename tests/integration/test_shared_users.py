"""Changes of users in Postgres: a process that shares a cache with the one that made the change sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cachetools import LRUCache

from lib.cache.base import InMemoryCache
from lib.postgres.database import Database
from lib.users.cache import CACHED_SECONDS
from lib.users.directory import Outcome, SignUp, User, UserDirectory, link_cognito_users
from tests.integration.test_users import AUGUSTSZ, pool_user
from tests.support.clocks import FrozenTime
from tools.seed.conversation import seed_users

ANNA = SignUp("sub-anna", "anna", "Anna Ann", "anna@example.com", email_verified=True)


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database with the seeded users, of whom Augustsz has signed up."""
    with Database(new_database()) as database:
        database.script("db/schema.sql")
        seed_users(database)
        link_cognito_users(database, [pool_user("sub-1", "Augustsz")])
        yield database


class Processes:
    """Two processes of the API: `here` makes the changes, `there` has its own time."""

    def __init__(self, database: Database) -> None:
        self.texts: LRUCache[str, str] = LRUCache(100)
        self.shared = InMemoryCache(self.texts)
        self.clock = FrozenTime()
        self.here = UserDirectory(database, self.shared)
        self.there = UserDirectory(database, self.shared, timer=self.clock.monotonic)


@pytest.fixture
def processes(database: Database) -> Processes:
    return Processes(database)


def test_another_process_sees_a_rename_after_a_minute(processes: Processes) -> None:
    here, there = processes.here, processes.there
    for users in (here, there):
        assert users.by_cognito_user_id("sub-1") == users.profile("Augustsz") == AUGUSTSZ
    renamed = here.rename("Augustsz", handle="august", display_name="August the First")
    assert renamed == User(AUGUSTSZ.uuid, "august", "August the First")
    assert here.by_cognito_user_id("sub-1") == here.profile("august") == renamed
    assert here.profile("Augustsz") is None
    processes.clock.ahead = CACHED_SECONDS - 1
    assert there.by_cognito_user_id("sub-1") == there.profile("Augustsz") == AUGUSTSZ
    assert there.by_handle("Augustsz") is None  # senders read Postgres each time
    processes.clock.ahead = CACHED_SECONDS
    assert there.by_cognito_user_id("sub-1") == there.profile("august") == renamed
    assert there.profile("Augustsz") is None


def test_moved_cognito_id_leads_to_its_new_user(database: Database, processes: Processes) -> None:
    there, shared = processes.there, processes.shared
    assert there.by_cognito_user_id("sub-1") == AUGUSTSZ
    link_cognito_users(database, [pool_user("sub-2", "Augustsz"), pool_user("sub-1", "bayko")], shared)
    processes.clock.ahead += CACHED_SECONDS
    first, second = there.by_cognito_user_id("sub-1"), there.by_cognito_user_id("sub-2")
    assert (first and first.handle, second) == ("bayko", AUGUSTSZ)
    link_cognito_users(database, [pool_user("sub-3", "bayko")], shared)
    processes.clock.ahead += CACHED_SECONDS
    assert there.by_cognito_user_id("sub-1") is None
    before = dict(processes.texts)
    link_cognito_users(database, [pool_user("sub-2", "Augustsz"), pool_user("sub-3", "bayko")], shared)
    assert before
    assert dict(processes.texts) == before


def test_new_owner_of_a_handle_is_not_the_old_one(database: Database, processes: Processes) -> None:
    here, there = processes.here, processes.there
    old, _ = here.provision(ANNA)
    assert here.profile("anna") == here.by_cognito_user_id("sub-anna") == old
    with database.transaction() as queries:
        queries._connection.execute("DELETE FROM users WHERE handle = 'anna'")  # type: ignore[attr-defined]
    new, outcome = here.provision(ANNA)
    assert (outcome, new != old) == (Outcome.CREATED, True)
    assert there.profile("anna") == there.by_cognito_user_id("sub-anna") == new
