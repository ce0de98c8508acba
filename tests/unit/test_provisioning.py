"""What Cognito knows of a user becomes a row, or a clear refusal. What Postgres does with it: tests/integration."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lib.postgres.errors import DatabaseUnavailable
from lib.users.directory import HandleTaken, Outcome, SignUp, User
from services.errors import Code, Forbidden, Unavailable
from services.provisioning import Newcomers, provision_user
from tests.support.sign_up_events import ATTRIBUTES

ANNA = User("11111111-0000-4000-8000-000000000001", "anna", "Anna Ann")
SIGN_UP = SignUp(ATTRIBUTES["sub"], "anna", "Anna Ann", "anna@example.com", True)


class Directory:
    """Stands in for the users in Postgres: remembers who came and lets everybody in, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.came: list[SignUp] = []

    def provision(self, sign_up: SignUp) -> tuple[User, Outcome]:
        self.came.append(sign_up)
        if self.failure:
            raise self.failure
        return ANNA, Outcome.CREATED


def provision(directory: Directory, attributes: dict[str, str]) -> User:
    return provision_user(directory, attributes)  # type: ignore[arg-type]


def test_cognitos_attributes_are_the_users_row() -> None:
    directory = Directory()
    assert provision(directory, ATTRIBUTES) == ANNA
    assert directory.came == [SIGN_UP]


@pytest.mark.parametrize("name", [None, "", "  \n"])
def test_who_gave_no_name_is_called_by_their_handle(name: str | None) -> None:
    directory = Directory()
    provision(directory, without("name") if name is None else {**ATTRIBUTES, "name": name})
    assert [each.display_name for each in directory.came] == ["anna"]


@pytest.mark.parametrize("verified", [None, "false", "", "True", "1"])
def test_an_email_counts_as_verified_only_if_cognito_says_so(verified: str | None) -> None:
    directory = Directory()
    provision(directory, without("email_verified") if verified is None else {**ATTRIBUTES, "email_verified": verified})
    assert [each.email_verified for each in directory.came] == [False]


@pytest.mark.parametrize("name", ["sub", "preferred_username", "email"])
@pytest.mark.parametrize("value", [None, "", " ", "x" * 256, "a\0b", "\ud800"])
def test_without_what_a_row_needs_nobody_is_made_a_user(name: str, value: str | None) -> None:
    directory = Directory()
    with pytest.raises(Forbidden) as refusal:
        provision(directory, without(name) if value is None else {**ATTRIBUTES, name: value})
    assert refusal.value.codes == (Code.USER_NOT_FOUND,)
    assert directory.came == []


@pytest.mark.parametrize(
    "handle", ["anna ", " anna", "anna\n", "an\u200bna", "anna\u00a0", "\u202eanna", "an\x1b[8mna"]
)
def test_a_handle_that_only_seems_to_be_another_one_is_refused(handle: str) -> None:
    with pytest.raises(Forbidden):
        provision(Directory(), {**ATTRIBUTES, "preferred_username": handle})


@pytest.mark.parametrize("handle", ["Anna Ann", "änna", "анна", "anna🐻"])
def test_a_handle_is_any_text_that_can_be_seen(handle: str) -> None:
    directory = Directory()
    provision(directory, {**ATTRIBUTES, "preferred_username": handle})
    assert [each.handle for each in directory.came] == [handle]


def test_a_name_that_is_too_long_is_refused_and_one_at_the_limit_is_not() -> None:
    with pytest.raises(Forbidden):
        provision(Directory(), {**ATTRIBUTES, "name": "é" * 256})
    assert provision(Directory(), {**ATTRIBUTES, "name": "é" * 255}) == ANNA


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        (HandleTaken(), Forbidden, Code.HANDLE_TAKEN),
        (DatabaseUnavailable("away"), Unavailable, Code.STORAGE_UNAVAILABLE),
    ],
)
def test_what_postgres_refuses_has_a_code(failure: Exception, kind: type[Forbidden], code: Code) -> None:
    with pytest.raises(kind) as refusal:
        provision(Directory(failure), ATTRIBUTES)
    assert refusal.value.codes == (code,)
    assert refusal.value.__cause__ is failure


def test_the_log_tells_who_by_ids_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        provision(Directory(), ATTRIBUTES)
    [record] = caplog.records
    fields: Any = record.__dict__["fields"]
    assert (record.message, fields) == (
        "user_provisioned",
        {"sub": ATTRIBUTES["sub"], "user_uuid": ANNA.uuid, "outcome": "created"},
    )


def test_newcomer_is_provisioned_under_the_sub_of_the_token() -> None:
    directory = Directory()
    newcomers = Newcomers(lambda token: {**ATTRIBUTES, "sub": "another"}, directory)  # type: ignore[arg-type]
    assert newcomers.provision(ATTRIBUTES["sub"], "a token") == ANNA
    assert directory.came == [SIGN_UP]


def without(name: str) -> dict[str, str]:
    return {each: value for each, value in ATTRIBUTES.items() if each != name}
