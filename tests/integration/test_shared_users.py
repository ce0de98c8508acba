"""Changes of users in Postgres: another process sees them, because the processes share a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cachetools import LRUCache

from lib.cache.base import InMemoryCache
from lib.postgres.database import Database
from lib.users.accounts import User
from lib.users.cache import CACHED_SECONDS
from lib.users.directory import Outcome, SignUp, UserDirectory
from lib.users.linking import ForcedLink, link_cognito_users
from tests.integration.test_linking import pool_user
from tests.integration.test_users import AUGUSTSZ
from tests.support.clocks import FrozenTime
from tools.postgres.migrations import migrate
from tools.seed.conversation import seed_users

ANNA = SignUp("sub-anna", "anna", "Anna Ann", "anna@example.com", email_verified=True)


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database with the seeded users. One of them, Augustsz, has signed up."""
    url = new_database()
    migrate(url)
    with Database(url) as database:
        seed_users(database)
        link_cognito_users(database, [pool_user("sub-1", "Augustsz")])
        yield database


class Processes:
    """Two processes of the API: `changing` makes the changes, `reading` has its own clock."""

    def __init__(self, database: Database) -> None:
        self.texts: LRUCache[str, str] = LRUCache(100)
        self.shared = InMemoryCache(self.texts)
        self.clock = FrozenTime()
        self.changing = UserDirectory(database, self.shared)
        self.reading = UserDirectory(database, self.shared, timer=self.clock.monotonic)


@pytest.fixture
def processes(database: Database) -> Processes:
    return Processes(database)


def test_another_process_sees_a_rename_after_a_minute(processes: Processes) -> None:
    changing, reading = processes.changing, processes.reading
    for users in (changing, reading):
        assert users.by_cognito_user_id("sub-1") == users.profile("Augustsz") == AUGUSTSZ
    renamed = changing.rename("Augustsz", handle="august", display_name="August the First")
    assert renamed == User(AUGUSTSZ.uuid, "august", "August the First")
    assert changing.by_cognito_user_id("sub-1") == changing.profile("august") == renamed
    assert changing.profile("Augustsz") is None
    processes.clock.ahead = CACHED_SECONDS - 1
    assert reading.by_cognito_user_id("sub-1") == reading.profile("Augustsz") == AUGUSTSZ
    assert reading.by_handle("Augustsz") is None  # senders read Postgres each time
    processes.clock.ahead = CACHED_SECONDS
    assert reading.by_cognito_user_id("sub-1") == reading.profile("august") == renamed
    assert reading.profile("Augustsz") is None


def test_moved_cognito_id_leads_to_its_new_user(database: Database, processes: Processes) -> None:
    reading, shared = processes.reading, processes.shared
    assert reading.by_cognito_user_id("sub-1") == AUGUSTSZ
    ForcedLink.find(database, [pool_user("sub-1", "bayko")], "bayko").write(database, shared)
    link_cognito_users(database, [pool_user("sub-1", "bayko"), pool_user("sub-2", "Augustsz")], shared)
    processes.clock.ahead += CACHED_SECONDS
    first, second = reading.by_cognito_user_id("sub-1"), reading.by_cognito_user_id("sub-2")
    assert (first and first.handle, second) == ("bayko", AUGUSTSZ)
    link_cognito_users(database, [pool_user("sub-3", "bayko"), pool_user("sub-2", "Augustsz")], shared)
    processes.clock.ahead += CACHED_SECONDS
    assert reading.by_cognito_user_id("sub-1") is None
    before = dict(processes.texts)
    link_cognito_users(database, [pool_user("sub-2", "Augustsz"), pool_user("sub-3", "bayko")], shared)
    assert before
    assert dict(processes.texts) == before


def test_reused_handle_leads_to_its_new_user(database: Database, processes: Processes) -> None:
    changing, reading = processes.changing, processes.reading
    old, _ = changing.provision(ANNA)
    assert changing.profile("anna") == changing.by_cognito_user_id("sub-anna") == old
    with database._connection(2) as connection:
        connection.execute("DELETE FROM users WHERE handle = 'anna'")
    new, outcome = changing.provision(ANNA)
    assert (outcome, new != old) == (Outcome.CREATED, True)
    assert reading.profile("anna") == reading.by_cognito_user_id("sub-anna") == new
