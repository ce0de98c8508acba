"""Provisioning in Postgres: a user has one row, even after several sign-ups at once, and gets no other user's row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Barrier
from time import time

import pytest

from lib.postgres.database import Database, Row
from lib.users.accounts import User
from lib.users.directory import HandleTaken, NameRefused, Outcome, SignUp, UserDeleted, UserDirectory
from lib.users.linking import link_cognito_users
from tests.integration import test_users
from tests.integration.test_handles import WAITING, execute
from tests.integration.test_linking import pool_user
from tests.support.clocks import eventually
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


database = test_users.database


@pytest.fixture
def users(database: Database) -> UserDirectory:
    return UserDirectory(database)


def row_of(database: Database, handle: str) -> Row:
    return {row["handle"]: row for row in database.all("users/all")}[handle]


def test_sign_up_creates_a_row(database: Database, users: UserDirectory) -> None:
    user, outcome = users.provision(ANNA)
    assert (user, outcome) == (User(user.uuid, "anna", "Anna Ann"), Outcome.CREATED)
    assert users.by_cognito_user_id("sub-anna") == users.by_handle("anna") == user
    assert row_of(database, "anna")["email"] == "anna@example.com"


def test_repeated_sign_up_changes_nothing(database: Database, users: UserDirectory) -> None:
    first, _ = users.provision(ANNA)
    before = database.all("users/all")
    others = {"handle": "someone-else", "display_name": "Ann", "email": "ann@example.com", "email_verified": False}
    for again in (ANNA, replace(ANNA, **others), replace(ANNA, handle="Augustsz", email="augustsz@example.com")):
        assert UserDirectory(database).provision(again) == (first, Outcome.KNOWN)
    assert database.all("users/all") == before


def test_deleted_user_gets_no_row_from_an_old_token(database: Database, users: UserDirectory) -> None:
    users.provision(ANNA)
    issued_at = time()
    with ThreadPoolExecutor() as pool:
        with database._connection(2) as connection, connection.transaction():
            connection.execute("DELETE FROM users WHERE cognito_user_id = 'sub-anna'")
            during = pool.submit(users.provision, ANNA, issued_at=issued_at)
            assert eventually(lambda: execute(database, WAITING).fetchall())
        with pytest.raises(UserDeleted):
            during.result()
    with pytest.raises(UserDeleted):
        users.provision(ANNA, issued_at=issued_at)
    assert users.by_cognito_user_id("sub-anna") is None
    assert users.provision(ANNA, issued_at=issued_at + 20)[1] is Outcome.CREATED
    account = users.account("sub", "sub-anna")
    assert account
    assert account.refuses(issued_at)


def test_row_that_waits_for_a_deleted_user_refuses_the_old_tokens(database: Database, users: UserDirectory) -> None:
    users.provision(SEEDED)
    execute(database, "DELETE FROM users WHERE cognito_user_id = 'sub-1'")
    seed_users(database)
    issued_at = time()
    with pytest.raises(UserDeleted):
        users.provision(SEEDED, issued_at=issued_at)
    assert users.provision(SEEDED, issued_at=issued_at + 20) == (AUGUSTSZ, Outcome.LINKED)
    account = users.account("sub", "sub-1")
    assert account
    assert (account.refuses(issued_at), account.refuses(issued_at + 20)) == (True, False)


def test_row_without_a_cognito_id_is_linked(database: Database, users: UserDirectory) -> None:
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
def test_handle_without_the_verified_email_links_no_row(
    database: Database, users: UserDirectory, taken: SignUp
) -> None:
    before = database.all("users/all")
    with pytest.raises(HandleTaken):
        users.provision(taken)
    assert database.all("users/all") == before


def test_row_of_a_user_is_not_linked_to_another(database: Database, users: UserDirectory) -> None:
    users.provision(SEEDED)
    before = database.all("users/all")
    with pytest.raises(HandleTaken):
        users.provision(replace(SEEDED, cognito_user_id="sub-2"))
    assert database.all("users/all") == before


def test_refused_user_needs_another_handle_or_the_administrator(database: Database, users: UserDirectory) -> None:
    unverified = replace(SEEDED, email_verified=False)
    with pytest.raises(HandleTaken):
        users.provision(unverified)
    assert users.provision(replace(unverified, cognito_user_id="sub-2", handle="august"))[1] is Outcome.CREATED
    link_cognito_users(database, [pool_user("sub-1", "Augustsz")])
    assert users.provision(unverified) == (AUGUSTSZ, Outcome.KNOWN)


@pytest.mark.parametrize(
    "names",
    [
        *(
            {"handle": handle}
            for handle in ("anna ", "Anna Ann", "an\u200bna", "anna\ufe0f", "a/b", "..", AUGUSTSZ.uuid)
        ),
        *({"display_name": name} for name in ("an\x1b[8mna", "a\nb", "a\u202eb", "\u2800")),
    ],
    ids=ascii,
)
def test_name_that_breaks_a_rule_gets_no_row(database: Database, users: UserDirectory, names: dict[str, str]) -> None:
    with pytest.raises(NameRefused):
        users.provision(replace(ANNA, **names))
    assert len(database.all("users/all")) == 3


def test_handle_is_stored_as_chosen_and_is_taken_in_every_spelling(users: UserDirectory) -> None:
    user, _ = users.provision(replace(ANNA, handle="Änna", display_name=" Änna  A "))
    assert user == User(user.uuid, "Änna", "Änna A")
    for handle in ("änna", "A\u0308NNA"):
        with pytest.raises(HandleTaken):
            users.provision(replace(ANNA, cognito_user_id="sub-mallory", handle=handle))


def test_waiting_row_is_linked_in_any_spelling_and_with_an_older_handle(
    database: Database, users: UserDirectory
) -> None:
    assert users.provision(replace(SEEDED, handle="AUGUSTSZ")) == (AUGUSTSZ, Outcome.LINKED)
    execute(database, "INSERT INTO users (handle, display_name, email) VALUES ('Anna Ann', 'A', 'anna@example.com')")
    assert users.provision(replace(ANNA, handle="Anna Ann"))[1] is Outcome.LINKED


def at_once(database: Database, sign_ups: list[SignUp]) -> list[tuple[User, Outcome]]:
    """Provision all of them at once, as several processes; the results without those whose handle was taken."""
    start, results = Barrier(len(sign_ups)), list[tuple[User, Outcome]]()

    def provision(sign_up: SignUp) -> None:
        users = UserDirectory(database)
        start.wait()
        with suppress(HandleTaken):
            results.append(users.provision(sign_up))

    with ThreadPoolExecutor(len(sign_ups)) as threads:
        list(threads.map(provision, sign_ups))
    return results


@pytest.mark.parametrize("handles", [1, THREADS])
def test_simultaneous_sign_ups_of_one_user_create_one_row(database: Database, handles: int) -> None:
    for number in range(ROUNDS):
        user = replace(ANNA, cognito_user_id=f"sub-{number}")
        sign_ups = [replace(user, handle=f"anna-{number}-{thread % handles}") for thread in range(THREADS)]
        results = at_once(database, sign_ups)
        assert len({user.uuid for user, _ in results}) == 1
        assert sorted(outcome for _, outcome in results) == [Outcome.CREATED, *[Outcome.KNOWN] * (THREADS - 1)]
    assert len(database.all("users/all")) == 3 + ROUNDS


def test_simultaneous_sign_ups_for_one_handle_create_one_user(database: Database) -> None:
    for number in range(ROUNDS):
        rivals = [
            replace(ANNA, cognito_user_id=f"sub-{number}-{rival}", handle=f"anna-{number}") for rival in range(THREADS)
        ]
        [(winner, outcome)] = at_once(database, rivals)
        assert (winner.handle, outcome) == (f"anna-{number}", Outcome.CREATED)


def test_simultaneous_sign_ups_for_one_row_link_one_user(database: Database) -> None:
    rivals = [replace(SEEDED, cognito_user_id=f"sub-{rival}") for rival in range(THREADS)]
    assert at_once(database, rivals) == [(AUGUSTSZ, Outcome.LINKED)]
