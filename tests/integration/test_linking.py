"""Linking rows of Postgres to Cognito users: a row goes only to the user who owns its verified e-mail address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from lib.identity.cognito import PoolUser
from lib.postgres.database import Database
from lib.users.linking import CannotLink, ForcedLink, LinkResult, link_cognito_users
from tests.support.roles import as_role, deploy_schema
from tools.seed.conversation import seed_users


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database with the seeded users, for the scripts' role."""
    url = new_database()
    deploy_schema(url)
    with Database(url) as superuser:
        seed_users(superuser)
    with Database(as_role(url, "cruddur_maintenance")) as database:
        yield database


def pool_user(sub: str, handle: str | None) -> PoolUser:
    """A confirmed Cognito user with the verified e-mail address of the row with this handle."""
    return PoolUser(
        username=sub,
        sub=sub,
        preferred_username=handle,
        email=f"{handle.lower()}@example.com" if handle else None,
        email_verified=True,
        status="CONFIRMED",
        enabled=True,
    )


def link(database: Database, **subs: str) -> LinkResult:
    return link_cognito_users(database, [pool_user(sub, handle) for handle, sub in subs.items()])


def ids(database: Database) -> dict[str, str | None]:
    return {row["handle"]: row["cognito_user_id"] for row in database.all("users/all")}


def test_linking_again_changes_nothing(database: Database) -> None:
    assert link(database, Augustsz="1", bayko="2", londo="3").changed == 3
    again = link(database, Augustsz="1", bayko="2", londo="3")
    assert (again.changed, again.unchanged) == (0, 3)


def test_users_of_a_new_pool_get_the_rows_of_the_lost_one(database: Database) -> None:
    link(database, Augustsz="1", bayko="2", londo="3")
    assert link(database, Augustsz="4", bayko="5", londo="6").changed == 3


def test_pool_without_any_known_id_is_refused_as_a_wrong_one(database: Database) -> None:
    strangers = [pool_user("4", "Augustsz"), pool_user("5", "bayko")]
    assert link_cognito_users(database, strangers[:1], new_pool=False).changed == 1
    with pytest.raises(CannotLink, match="--new-pool"):
        link_cognito_users(database, strangers[1:], new_pool=False)
    assert ids(database) == {"Augustsz": "4", "bayko": None, "londo": None}
    assert link_cognito_users(database, strangers, new_pool=False).changed == 1


def test_other_spelling_of_a_handle_links_its_owner(database: Database) -> None:
    bayko, augustsz = replace(pool_user("2", "bayko"), preferred_username="BAYKO"), pool_user("1", "AUGUSTSZ")
    result = link_cognito_users(database, [bayko, replace(augustsz, email="mallory@example.com")])
    assert (result.changed, result.unproven, result.without_row) == (1, ["Augustsz"], [])
    assert ForcedLink.find(database, [augustsz], "augustsz").row["handle"] == "Augustsz"


BAYKO = pool_user("9", "bayko")


@pytest.mark.parametrize(
    "stranger",
    [
        replace(BAYKO, email="mallory@example.com"),
        replace(BAYKO, email="Bayko@example.com"),
        replace(BAYKO, email_verified=False),
        replace(BAYKO, status="UNCONFIRMED"),
        replace(BAYKO, status="FORCE_CHANGE_PASSWORD"),
    ],
    ids=["another address", "another spelling", "not verified", "not confirmed", "invited"],
)
def test_chosen_handle_alone_gives_nobody_a_row(database: Database, stranger: PoolUser) -> None:
    result = link_cognito_users(database, [stranger])
    assert result == LinkResult(
        changed=0,
        unchanged=0,
        unproven=["bayko"],
        without_cognito_user=["Augustsz", "bayko", "londo"],
        without_row=[],
    )
    assert set(ids(database).values()) == {None}


def test_id_of_a_cognito_user_stays_whoever_takes_the_handle(database: Database) -> None:
    link(database, bayko="2")
    owner = replace(pool_user("2", "bayko"), preferred_username="somebody", email="new@example.com")
    result = link_cognito_users(database, [owner, BAYKO])
    assert (result.changed, result.unchanged, result.unproven) == (0, 1, ["bayko"])
    assert ids(database)["bayko"] == "2"


def test_user_with_a_row_gets_no_second_one(database: Database) -> None:
    link(database, bayko="2")
    result = link_cognito_users(database, [pool_user("2", "londo")])
    assert (result.changed, result.without_cognito_user) == (0, ["Augustsz", "londo"])
    assert ids(database) == {"Augustsz": None, "bayko": "2", "londo": None}


def test_row_that_changes_after_the_read_stays(database: Database) -> None:
    def users() -> Iterator[PoolUser]:
        """The pool as it is read, while another process links the row."""
        yield BAYKO
        link(database, bayko="2")

    assert link_cognito_users(database, users()).changed == 0
    assert ids(database)["bayko"] == "2"


def test_users_without_a_match_are_listed_without_their_email(database: Database) -> None:
    ghost, nameless = pool_user("4", "ghost"), pool_user("5", None)
    plain, address = replace(nameless, username="plain"), replace(nameless, sub="6", username="somebody@example.com")
    rivals = [pool_user("2", "bayko"), pool_user("3", "bayko")]
    result = link_cognito_users(database, [pool_user("1", "Augustsz"), *rivals, ghost, plain, address])
    assert result == LinkResult(
        changed=1,
        unchanged=0,
        unproven=["bayko"],
        without_cognito_user=["bayko", "londo"],
        without_row=["6", "ghost", "plain"],
    )
    assert ids(database) == {"Augustsz": "1", "bayko": None, "londo": None}


def test_forced_link_takes_the_user_from_another_row(database: Database) -> None:
    link(database, bayko="2", londo="3")
    users = [pool_user("2", "bayko"), pool_user("3", "Augustsz")]
    ForcedLink.find(database, users, "Augustsz").write(database, None)
    assert ids(database) == {"Augustsz": "3", "bayko": "2", "londo": None}


def test_forced_link_of_a_row_that_has_changed_writes_nothing(database: Database) -> None:
    link(database, bayko="2", londo="3")
    users = [pool_user("2", "bayko"), pool_user("3", "Augustsz")]
    forced = ForcedLink.find(database, users, "Augustsz")
    link_cognito_users(database, [*users, pool_user("7", "Augustsz")])
    before = ids(database)
    with pytest.raises(CannotLink, match="has changed"):
        forced.write(database, None)
    assert ids(database) == before == {"Augustsz": "7", "bayko": "2", "londo": "3"}


@pytest.mark.parametrize(
    ("handle", "reason"),
    [
        ("nobody", "No user has the handle nobody"),
        ("londo", "No Cognito user has the preferred_username londo"),
        ("bayko", "Several Cognito users have the preferred_username bayko: 3, 4"),
        ("Augustsz", "Augustsz has the Cognito id 1 already"),
    ],
)
def test_force_needs_one_cognito_user_with_the_handle(database: Database, handle: str, reason: str) -> None:
    link(database, Augustsz="1")
    users = [pool_user("1", "Augustsz"), pool_user("3", "bayko"), pool_user("4", "bayko")]
    with pytest.raises(CannotLink, match=reason):
        ForcedLink.find(database, users, handle)
