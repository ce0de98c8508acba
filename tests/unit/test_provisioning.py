"""Provisioning: Cognito's attributes become a sign-up or an error with a code; Postgres is a fake."""

from __future__ import annotations

import logging
from typing import Any
from unittest.mock import Mock

import pytest

from lib.identity.tokens import TokenClaims
from lib.postgres.errors import DatabaseUnavailable
from lib.users.accounts import User
from lib.users.directory import HandleTaken, NameRefused, Outcome, SignUp, UserDeleted
from services.errors import Code, Forbidden, Unauthenticated, Unavailable
from services.provisioning import Newcomers, provision_user
from tests.support.sign_up_events import ATTRIBUTES

ANNA = User("11111111-0000-4000-8000-000000000001", "anna", "Anna Ann")
DELETED_AT = 1000
SIGN_UP = SignUp(ATTRIBUTES["sub"], "anna", "Anna Ann", "anna@example.com", True)


class Directory:
    """A fake of the directory: keeps the sign-ups and provisions everybody, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.sign_ups: list[SignUp] = []

    def was_deleted(self, cognito_user_id: str, *, issued_at: float) -> bool:
        return issued_at < DELETED_AT

    def provision(self, sign_up: SignUp, *, issued_at: float | None = None) -> tuple[User, Outcome]:
        self.sign_ups.append(sign_up)
        if self.failure:
            raise self.failure
        return ANNA, Outcome.CREATED


def provision(directory: Directory, attributes: dict[str, str]) -> User:
    return provision_user(directory, attributes)  # type: ignore[arg-type]


def test_attributes_of_cognito_become_a_sign_up() -> None:
    directory = Directory()
    assert provision(directory, ATTRIBUTES) == ANNA
    assert directory.sign_ups == [SIGN_UP]


@pytest.mark.parametrize("name", [None, "", "  \n"])
def test_user_without_a_name_gets_the_handle_as_display_name(name: str | None) -> None:
    directory = Directory()
    provision(directory, without("name") if name is None else {**ATTRIBUTES, "name": name})
    assert [sign_up.display_name for sign_up in directory.sign_ups] == ["anna"]


@pytest.mark.parametrize("verified", [None, "false", "", "True", "1"])
def test_email_is_verified_only_if_cognito_verified_it(verified: str | None) -> None:
    directory = Directory()
    provision(directory, without("email_verified") if verified is None else {**ATTRIBUTES, "email_verified": verified})
    assert [sign_up.email_verified for sign_up in directory.sign_ups] == [False]


@pytest.mark.parametrize("name", ["sub", "preferred_username", "email"])
@pytest.mark.parametrize("value", [None, "", " ", "x" * 256, "a\0b", "\ud800"])
def test_user_without_a_required_attribute_is_refused(name: str, value: str | None) -> None:
    directory = Directory()
    with pytest.raises(Forbidden) as refusal:
        provision(directory, without(name) if value is None else {**ATTRIBUTES, name: value})
    assert refusal.value.codes == (Code.USER_NOT_FOUND,)
    assert directory.sign_ups == []


def test_name_has_at_most_255_characters() -> None:
    with pytest.raises(Forbidden):
        provision(Directory(), {**ATTRIBUTES, "name": "é" * 256})
    assert provision(Directory(), {**ATTRIBUTES, "name": "é" * 255}) == ANNA


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        (HandleTaken(), Forbidden, Code.HANDLE_TAKEN),
        (NameRefused(), Forbidden, Code.USER_NOT_FOUND),
        (UserDeleted(), Unauthenticated, Code.TOKEN_REVOKED),
        (DatabaseUnavailable("away"), Unavailable, Code.STORAGE_UNAVAILABLE),
    ],
)
def test_failure_of_postgres_has_a_code(failure: Exception, kind: type[Forbidden], code: Code) -> None:
    with pytest.raises(kind) as refusal:
        provision(Directory(failure), ATTRIBUTES)
    assert refusal.value.codes == (code,)
    assert refusal.value.__cause__ is failure


def test_log_names_the_user_by_ids_alone(caplog: pytest.LogCaptureFixture) -> None:
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
    assert newcomers.provision(TokenClaims(ATTRIBUTES["sub"], 5000, DELETED_AT), "a token") == ANNA
    assert directory.sign_ups == [SIGN_UP]


def test_old_token_of_a_deleted_user_reaches_neither_cognito_nor_the_table_of_users() -> None:
    directory, read_attributes = Directory(), Mock()
    newcomers = Newcomers(read_attributes, directory)  # type: ignore[arg-type]
    with pytest.raises(Unauthenticated) as refusal:
        newcomers.provision(TokenClaims(ATTRIBUTES["sub"], 5000, DELETED_AT - 1), "a token")
    assert refusal.value.codes == (Code.TOKEN_REVOKED,)
    assert directory.sign_ups == read_attributes.mock_calls == []


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in ATTRIBUTES.items() if key != name}
