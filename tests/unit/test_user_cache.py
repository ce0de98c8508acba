"""The cache of users: in this process for a minute, and in a cache that several processes share."""

from __future__ import annotations

from hashlib import sha256
from unittest.mock import Mock

import pytest
from cachetools import LRUCache

from lib.cache.base import Cache, InMemoryCache
from lib.postgres.database import Database
from lib.users.accounts import Account, User
from lib.users.cache import CACHED_SECONDS, By, UserCache
from lib.users.directory import UserDirectory
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


def test_copy_that_is_too_old_for_the_caller_is_read_again() -> None:
    clock = FrozenTime()
    users, read = UserCache(None, timer=clock.monotonic), Mock(side_effect=[ANNA, RENAMED])
    assert users.find("sub", "1", read, max_age=30) == ANNA
    clock.ahead = 30
    assert users.find("sub", "1", read, max_age=30) == ANNA
    clock.ahead = 30.5
    assert users.find("sub", "1", read) == ANNA
    assert users.find("sub", "1", read, max_age=30) == users.find("sub", "1", read) == RENAMED


def test_dropped_user_is_read_from_postgres_while_the_shared_cache_may_have_the_old_one(
    texts: LRUCache[str, str],
) -> None:
    clock = FrozenTime()
    users = UserCache(InMemoryCache(texts), timer=clock.monotonic)
    assert users.find("sub", "1", lambda: ANNA) == ANNA
    users.drop("sub", "1")
    assert users.find("sub", "1", lambda: RENAMED) == users.find("sub", "1", Mock()) == RENAMED
    assert dict(texts) == {}  # no other process gets the old one either
    clock.ahead = CACHED_SECONDS
    assert users.find("sub", "1", lambda: RENAMED) == RENAMED
    assert dict(texts) == {key("sub", "1"): ANNA_TEXT.replace('Ann"', 'Bee"')}


@pytest.mark.parametrize("change", ["drop", "forget"])
def test_user_who_changes_during_a_read_is_read_again(change: str) -> None:
    users = UserCache(None)

    def read() -> Account:
        if change == "drop":
            users.drop("sub", "1")
        else:
            users.forget(cognito_user_ids=["1"])
        return ANNA

    assert users.find("sub", "1", read) == ANNA
    assert users.find("sub", "1", lambda: RENAMED) == RENAMED


@pytest.mark.parametrize(
    ("disabled_at", "signed_out_at", "issued_at", "is_refused"),
    [
        *((None, None, 0, False), (5.0, None, 0, True), (5.0, None, 1e10, True)),
        *((None, 100.5, 0, True), (None, 100.5, 100, True), (None, 100.5, 101, True), (None, 100.5, 102, False)),
    ],
)
def test_account_refuses_the_tokens_of_a_disabled_user_and_those_from_before_a_sign_out(
    disabled_at: float | None, signed_out_at: float | None, issued_at: float, is_refused: bool
) -> None:
    account = Account(ANNA.user, "everybody", disabled_at, signed_out_at)
    assert account.refuses(issued_at) is is_refused


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
