"""The roles of Postgres on AWS: who creates them, and what each may not do. The other tests show what each may do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from lib.config import ROOT
from lib.postgres.database import Database
from lib.postgres.database_url import describe
from lib.users.accounts import User
from lib.users.directory import UserDirectory
from tests.support import scripts
from tests.support.roles import as_role, by_token, deploy_schema
from tests.support.stores import ANNA
from tests.support.users import add_users
from tools.local_stack.postgres import Postgres

ROLES = set(re.findall(r"'(cruddur_\w+)'", (ROOT / "db/roles.sql").read_text()))

# What RDS has before the scripts run: its role for IAM, and the master, who is no superuser and owns the database.
RDS: tuple[LiteralString, ...] = (
    "CREATE ROLE rds_iam",
    "CREATE ROLE rds_superuser",
    "GRANT rds_iam TO rds_superuser WITH ADMIN OPTION",
    "CREATE ROLE cruddur LOGIN CREATEROLE PASSWORD 'of-the-master' IN ROLE rds_superuser",
    "CREATE DATABASE cruddur OWNER cruddur",
)
ONLY_PASSWORD = "local all cruddur scram-sha-256\nlocal all all trust\n"
ONLY_TOKEN = "local all all trust\n"  # this Postgres accepts any token


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    url = new_database()
    deploy_schema(url)
    return url


@pytest.fixture
def connection(url: str, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A connection of the role that the test names."""
    with closing(psycopg.connect(as_role(url, request.param), autocommit=True)) as connection:
        yield connection


def test_master_creates_the_roles_and_the_migrations_own_the_schema(
    engine_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scripts.runner(capsys, "db")
    with Postgres(engine_folder / "fresh", log=engine_folder / "fresh.log", durable=False) as server:
        with psycopg.connect(server.url(), autocommit=True) as superuser:
            for statement in RDS:
                superuser.execute(statement)
        url = server.url("cruddur")
        monkeypatch.setenv("DATABASE_URL", by_token(url, "cruddur"))
        for rules, password in [(ONLY_PASSWORD, "of-the-master"), (ONLY_TOKEN, "")]:
            (server._data / "pg_hba.conf").write_text(rules)
            with psycopg.connect(server.url()) as superuser:
                superuser.execute("SELECT pg_reload_conf()")
            monkeypatch.setenv("PGPASSWORD", password)
            assert run("roles", "prod", "--yes")[::2] == (0, f"{describe(url)}: the roles exist\n")
        monkeypatch.setenv("DATABASE_URL", by_token(url, "cruddur_migrations"))
        for state in ("up to date", "already up to date"):
            status, _, printed = run("migrate", "prod", "--yes")
            assert (status, printed.endswith(f"the schema is {state}\n")) == (0, True)
        with Database(by_token(url, "cruddur_api")) as database:
            database.check_schema()
        with psycopg.connect(url) as superuser:
            owners = superuser.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
            assert owners.fetchall() == [("cruddur_migrations",)]
            members = superuser.execute("SELECT rolname FROM pg_roles WHERE pg_has_role(oid, 'rds_iam', 'MEMBER')")
            assert {name for (name,) in members.fetchall()} - {"postgres", "rds_iam", "rds_superuser"} == ROLES | {
                "cruddur"
            }


def test_scripts_rename_users_as_the_role_of_maintenance(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_users(url, ANNA)
    monkeypatch.setenv("DATABASE_URL", as_role(url, "cruddur_maintenance"))
    run = scripts.runner(capsys, "db")
    assert run("rename-user", ANNA.handle, "--handle", "Änna", "--display-name", "Ann")[0] == 0
    assert run("check")[0] == 0  # the new handle has a key
    with Database(as_role(url, "cruddur_api")) as database:
        assert UserDirectory(database).by_handle("änna") == User(ANNA.uuid, "Änna", "Ann")


@pytest.mark.parametrize("connection", sorted(ROLES - {"cruddur_migrations"}), indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more ()",
        "ALTER TABLE users DISABLE TRIGGER ALL",
        "DELETE FROM users",
        "UPDATE users SET email = 'x'",
        "UPDATE users SET uuid = gen_random_uuid()",
        "UPDATE reports SET reason = 'x'",
        "DELETE FROM deleted_users",
        "DELETE FROM schema_migrations",
        "SET ROLE cruddur_migrations",
        "CREATE ROLE another",
    ],
)
def test_no_program_changes_the_schema_or_more_than_its_part(connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("connection", "statement"),
    [
        ("cruddur_api", "SELECT reason FROM reports"),
        ("cruddur_api", "UPDATE users SET disabled_at = NULL"),
        ("cruddur_api", "UPDATE users SET handle = 'x'"),
        ("cruddur_post_confirmation", "SELECT FROM reports"),
        ("cruddur_post_confirmation", "UPDATE users SET display_name = 'x'"),
        ("cruddur_message_stream", "SELECT FROM users"),
        ("cruddur_maintenance", "INSERT INTO users (handle, display_name, email) VALUES ('x', 'x', 'x')"),
    ],
    indirect=["connection"],
)
def test_role_has_no_right_of_another(connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        connection.execute(statement.encode())


def test_right_that_the_file_no_longer_has_is_taken_away(url: str) -> None:
    with psycopg.connect(as_role(url, "cruddur_migrations"), autocommit=True) as owner:
        owner.execute("GRANT DELETE ON users TO cruddur_api")
    deploy_schema(url)
    with psycopg.connect(url) as superuser:
        may = superuser.execute("SELECT has_table_privilege('cruddur_api', 'users', 'DELETE')").fetchone()
    assert may == (False,)
