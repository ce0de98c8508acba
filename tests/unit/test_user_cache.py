"""The cache of users: in this process for a minute, and in a cache that several processes share."""

from __future__ import annotations

from hashlib import sha256
from unittest.mock import Mock

import pytest
from cachetools import LRUCache

from lib.cache.base import Cache, InMemoryCache
from lib.postgres.database import Database
from lib.users.cache import CACHED_SECONDS, By, UserCache
from lib.users.directory import Account, User, UserDirectory
from tests.support.clocks import FrozenTime

ANNA = Account(User("a uuid", "anna", "Anna Ann"), "everybody", None, 1767428100.5)
RENAMED = Account(User("a uuid", "anna", "Anna Bee"), "everybody", None, 1767428100.5)
ANNA_TEXT = '["a uuid", "anna", "Anna Ann", "everybody", null, 1767428100.5]'


@pytest.fixture
def texts() -> LRUCache[str, str]:
    """The contents of the shared cache."""
    return LRUCache(100)


def key(by: By, text: str) -> str:
    return f"cruddur:user:3:{by}:{sha256(text.encode()).hexdigest()}"


@pytest.mark.parametrize("by", ["sub", "handle", "uuid"])
def test_processes_share_a_user_who_is_read_once(by: By, texts: LRUCache[str, str]) -> None:
    shared, clock = InMemoryCache(texts), FrozenTime()
    first, second = UserCache(shared, timer=clock.monotonic), UserCache(shared)
    read = Mock(return_value=ANNA)
    assert [users.find(by, "anna", read) for users in (first, first, second)] == [ANNA] * 3
    assert read.call_count == 1
    assert dict(texts) == {key(by, "anna"): ANNA_TEXT}
    texts[key(by, "anna")] = ANNA_TEXT.replace('Ann"', 'Bee"')
    clock.ahead = CACHED_SECONDS - 1
    assert first.find(by, "anna", read) == ANNA
    clock.ahead = CACHED_SECONDS
    assert first.find(by, "anna", read) == RENAMED
    assert read.call_count == 1


def test_misses_are_not_cached(texts: LRUCache[str, str]) -> None:
    users, read = UserCache(InMemoryCache(texts)), Mock(side_effect=[None, ANNA])
    assert (users.find("sub", "anna", read), dict(texts)) == (None, {})
    assert users.find("sub", "anna", read) == ANNA


@pytest.mark.parametrize("shares", [True, False])
def test_forgotten_users_are_read_again(shares: bool, texts: LRUCache[str, str]) -> None:
    users = UserCache(InMemoryCache(texts) if shares else None)
    keys: list[tuple[By, str]] = [("sub", "1"), ("handle", "anna"), ("uuid", "a uuid")]
    for by, text in keys:
        users.find(by, text, lambda: ANNA)
    users.forget(cognito_user_ids=["1"], handles=["anna"], uuids=["a uuid"])
    assert [users.find(by, text, lambda: RENAMED) for by, text in keys] == [RENAMED] * 3


@pytest.mark.parametrize(
    "text",
    [
        *("", "\ufffd", "null", "[]", '["1", "2", "3"]', '{"0": "1", "1": "2", "2": "3", "3": "4", "4": 5, "5": 6}'),
        *(
            '["1", "2", "3", 4, null, null]',
            '["1", "2", "3", "4", null, "5"]',
            '["1", "2", "3", "4", null, null, null]',
        ),
    ],
)
def test_malformed_value_is_read_from_postgres(text: str, texts: LRUCache[str, str]) -> None:
    texts[key("sub", "1")] = text
    assert UserCache(InMemoryCache(texts)).find("sub", "1", lambda: ANNA) == ANNA


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 256])
def test_invalid_text_reaches_neither_cache_nor_postgres(text: str) -> None:
    database, shared = Mock(spec=Database), Mock(spec=Cache)
    users = UserDirectory(database, shared)
    assert users.by_cognito_user_id(text) is users.profile(text) is None
    assert database.mock_calls == shared.mock_calls == []
