"""Who signed up, in Postgres: one row whatever comes twice or at once, and nobody gets at another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from lib.postgres.database import Database, Row
from lib.users.directory import HandleTaken, Outcome, SignUp, User, UserDirectory, link_cognito_users
from tests.integration.test_users import pool_user
from tools.seed.conversation import seed_users

AUGUSTSZ = User("76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "Augustsz", "Augustsz")
THREADS = 8
ROUNDS = 10

ANNA = SignUp(
    cognito_user_id="sub-anna", handle="anna", display_name="Anna Ann", email="anna@example.com", email_verified=True
)
SEEDED = SignUp(
    cognito_user_id="sub-1", handle="Augustsz", display_name="A. S.", email="augustsz@example.com", email_verified=True
)


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database of this test's own, with the seeded users, who wait for their Cognito ids."""
    with Database(new_database(), pool_size=THREADS) as made:
        made.script("db/schema.sql")
        seed_users(made)
        yield made


@pytest.fixture
def users(database: Database) -> UserDirectory:
    return UserDirectory(database)


def row_of(database: Database, handle: str) -> Row:
    return {row["handle"]: row for row in database.all("users/all")}[handle]


def test_who_signed_up_has_a_row(database: Database, users: UserDirectory) -> None:
    user, outcome = users.provision(ANNA)
    assert (user, outcome) == (User(user.uuid, "anna", "Anna Ann"), Outcome.CREATED)
    assert users.by_cognito_user_id("sub-anna") == users.by_handle("anna") == user
    assert row_of(database, "anna")["email"] == "anna@example.com"


def test_signing_up_again_changes_nothing(database: Database, users: UserDirectory) -> None:
    first, _ = users.provision(ANNA)
    before = database.all("users/all")
    others = {"handle": "someone-else", "display_name": "Ann", "email": "ann@example.com", "email_verified": False}
    for again in (ANNA, replace(ANNA, **others), replace(ANNA, handle="Augustsz", email="augustsz@example.com")):
        assert UserDirectory(database).provision(again) == (first, Outcome.KNOWN)
    assert database.all("users/all") == before


def test_a_row_that_waits_for_its_user_becomes_theirs(database: Database, users: UserDirectory) -> None:
    before = row_of(database, "Augustsz")
    assert users.provision(SEEDED) == (AUGUSTSZ, Outcome.LINKED)
    assert row_of(database, "Augustsz") == {**before, "cognito_user_id": "sub-1"}
    assert users.provision(SEEDED) == (AUGUSTSZ, Outcome.KNOWN)


@pytest.mark.parametrize(
    "taken",
    [
        replace(SEEDED, email_verified=False),
        replace(SEEDED, email="mallory@example.com"),
        replace(SEEDED, email="Augustsz@example.com"),
    ],
    ids=["not verified", "another's e-mail", "another spelling"],
)
def test_choosing_a_handle_opens_nobodys_messages(database: Database, users: UserDirectory, taken: SignUp) -> None:
    before = database.all("users/all")
    with pytest.raises(HandleTaken):
        users.provision(taken)
    assert database.all("users/all") == before


def test_a_row_that_has_its_user_is_not_given_to_another(database: Database, users: UserDirectory) -> None:
    users.provision(SEEDED)
    before = database.all("users/all")
    with pytest.raises(HandleTaken):
        users.provision(replace(SEEDED, cognito_user_id="sub-2"))
    assert database.all("users/all") == before


def test_who_was_refused_gets_in_under_another_handle_or_by_the_administrator(
    database: Database, users: UserDirectory
) -> None:
    unverified = replace(SEEDED, email_verified=False)
    with pytest.raises(HandleTaken):
        users.provision(unverified)
    assert users.provision(replace(unverified, cognito_user_id="sub-2", handle="august"))[1] is Outcome.CREATED
    link_cognito_users(database, [pool_user("sub-1", "Augustsz")])
    assert users.provision(unverified) == (AUGUSTSZ, Outcome.KNOWN)


def at_once(database: Database, sign_ups: list[SignUp]) -> list[tuple[User, Outcome] | None]:
    """What becomes of each, by processes of their own; None if the handle was taken."""
    start = Barrier(len(sign_ups))

    def provision(sign_up: SignUp) -> tuple[User, Outcome] | None:
        users = UserDirectory(database)
        start.wait()
        try:
            return users.provision(sign_up)
        except HandleTaken:
            return None

    with ThreadPoolExecutor(len(sign_ups)) as threads:
        return list(threads.map(provision, sign_ups))


def test_one_user_at_once_is_one_row(database: Database) -> None:
    for number in range(ROUNDS):
        sign_up = replace(ANNA, cognito_user_id=f"sub-{number}", handle=f"anna-{number}")
        answers = [each for each in at_once(database, [sign_up] * THREADS) if each]
        assert len(answers) == THREADS
        assert len({user.uuid for user, _ in answers}) == 1
        assert sorted(outcome for _, outcome in answers) == [Outcome.CREATED, *[Outcome.KNOWN] * (THREADS - 1)]


def test_of_many_who_want_a_handle_at_once_one_gets_it(database: Database) -> None:
    for number in range(ROUNDS):
        rivals = [
            replace(ANNA, cognito_user_id=f"sub-{number}-{rival}", handle=f"anna-{number}") for rival in range(THREADS)
        ]
        [(winner, outcome)] = [each for each in at_once(database, rivals) if each]
        assert (winner.handle, outcome) == (f"anna-{number}", Outcome.CREATED)


def test_of_many_who_claim_a_row_at_once_one_gets_it(database: Database) -> None:
    rivals = [replace(SEEDED, cognito_user_id=f"sub-{rival}") for rival in range(THREADS)]
    assert [each for each in at_once(database, rivals) if each] == [(AUGUSTSZ, Outcome.LINKED)]


def test_one_user_at_once_under_many_handles_is_one_row(database: Database) -> None:
    for number in range(ROUNDS):
        renamed = [
            replace(ANNA, cognito_user_id=f"sub-{number}", handle=f"anna-{number}-{name}") for name in range(THREADS)
        ]
        answers = [each for each in at_once(database, renamed) if each]
        assert len(answers) == THREADS
        assert len({user.uuid for user, _ in answers}) == 1
    assert len(database.all("users/all")) == 3 + ROUNDS
