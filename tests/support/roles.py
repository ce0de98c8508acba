"""The roles of Postgres that the programs have on AWS."""

from __future__ import annotations

import re
from contextlib import suppress

import psycopg

from lib.postgres.database import Database
from tools.postgres.migrations import grant, migrate

SUPERUSER = "postgres"


def as_role(url: str, role: str) -> str:
    """The URL of the same database for another role. The embedded Postgres asks no role for a password."""
    return re.sub(r"//\w+:", f"//{role}:", url, count=1)


def by_token(url: str, role: str) -> str:
    """The URL of the same database for a role that signs in by IAM."""
    return re.sub(r"^postgresql://\w+:[^@]*@", f"postgresql+iam://{role}@", url)


def deploy_schema(url: str) -> None:
    """Give an empty database the schema as on AWS."""
    create_roles(url)
    owner = as_role(url, "cruddur_migrations")
    migrate(owner)
    assert grant(owner)


def create_roles(url: str) -> None:
    """Create the roles as on AWS, where `rds_iam` exists."""
    with psycopg.connect(url, autocommit=True) as connection, suppress(psycopg.errors.DuplicateObject):
        connection.execute("CREATE ROLE rds_iam")
    with Database(url) as database:
        database.script("db/roles.sql")
