"""Postgres URLs: the parts that libpq sees, and no password in any message."""

from __future__ import annotations

import pytest

from lib.config import SettingsError
from lib.postgres import database_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@db.example.com:5433/cruddur", "db.example.com:5433/cruddur"),
        ("postgresql://me:secret@db.example.com/cruddur?sslmode=require", "db.example.com/cruddur"),
        ("postgresql:///cruddur", "localhost/cruddur"),
        ("postgresql://me@/cruddur?host=/run/postgres", "/run/postgres/cruddur"),
    ],
)
def test_description_has_no_user_and_no_password(url: str, shown: str) -> None:
    assert database_url.describe(url) == shown
    assert database_url.database_name(url) == "cruddur"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("postgresql://postgres:local-only@localhost/cruddur", True),
        ("postgresql://postgres:local-only@[::1]:5432/cruddur", True),
        ("postgresql://postgres:local-only@postgres.test/cruddur", True),
        ("postgresql://localhost/cruddur", False),
        ("postgresql://postgres:pa55word@127.0.0.1:5433/cruddur", False),
        ("postgresql://postgres:local-only@db.example.com/cruddur", False),
        ("postgresql://me:local-only@/cruddur", True),
        ("postgresql://me:local-only@/cruddur?host=/run/postgres", True),
        ("postgresql://me:local-only@/cruddur?host=%2Frun%2Fpostgres", True),
        ("postgresql:///cruddur", False),
        ("postgresql://me@/cruddur?host=/run/postgres", False),
        ("postgresql://me:local-only@/cruddur?host=db.example.com", False),
        ("postgresql://me:local-only@localhost/cruddur?host=db.example.com", False),
        ("postgresql://me:local-only@localhost/cruddur?hostaddr=203.0.113.7", False),
        ("postgresql://me:local-only@localhost,db.example.com/cruddur", False),
        ("postgresql://me:local-only@/cruddur?service=production", False),
    ],
)
def test_local_url_has_the_public_password_and_names_this_machine(url: str, local: bool) -> None:
    assert database_url.is_local(url) is local


@pytest.mark.parametrize("variable", ["PGHOST", "PGHOSTADDR", "PGSERVICE"])
def test_environment_adds_to_the_url(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "203.0.113.7")
    assert not database_url.is_local("postgresql://me:local-only@/cruddur")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pa/55word@db.example.com/cruddur",
        "postgresql://me:1234/55word@db.example.com/cruddur",
        "postgresql://me:pa%zz55word@db.example.com/cruddur",
        "postgresql://me:pa@55word@db.example.com/cruddur",
        "postgresql://me:pa@55word@db.example.com,b.example.com/cruddur",
        "postgresql://me:pa55word@db.example.com",
    ],
)
def test_malformed_url_is_a_settings_error_without_the_password(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as caught:
        database_url.describe(url)
    assert "55word" not in str(caught.value)


def test_password_is_split_off_for_a_command_line() -> None:
    connection, password = database_url.split_password("postgresql://me:secret@localhost/cruddur")
    assert password == "secret"
    assert "secret" not in connection
    assert "user=me" in connection
    assert database_url.split_password("postgresql://localhost/cruddur")[1] is None
