"""Shared by the scripts that change Postgres: the database as a target, migrations, and the update of Cognito ids."""

from __future__ import annotations

from lib.cache.shared import OptionalCache, shared_cache
from lib.config import CacheSettings, is_local, load
from lib.identity.cognito import UserPool
from lib.postgres import database_url
from lib.postgres.database import Database
from lib.users.cache import stale_data_warnings
from lib.users.linking import link_cognito_users
from tools.cli.console import Refused, Target, one_line, print_status, stderr
from tools.local_stack.environment import is_emulator
from tools.postgres.migrations import grant, migrate


def database_target(url: str) -> Target:
    """The database of this URL as a target of destructive actions."""
    return Target(database_url.describe(url), database_url.database_name(url), database_url.is_local(url))


def refuse_unless_local(cognito_endpoint: str | None, url: str) -> None:
    """Raise Refused outside a local stack, for scripts that create Cognito users. There is no `prod` for them."""
    if not is_local(cognito_endpoint):
        raise Refused("Refused: AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER names no local stack's Cognito")
    if not is_emulator(cognito_endpoint):
        raise Refused("Refused: AWS_ACCESS_KEY_ID is not `test`, so Cognito may be no local stack's")
    target = database_target(url)
    if not target.is_local:
        raise Refused(f"Refused: {target.place} is no local stack's Postgres")


def script_cache(settings: CacheSettings, url: str) -> OptionalCache | None:
    """The shared cache of the users in this database. That of another system has no users of a local stack."""
    if database_url.is_local(url) and not is_local(settings.momento_endpoint):
        return None
    return shared_cache(settings, for_script=True)


def update_schema(url: str) -> list[str]:
    """Apply the missing migrations and the grants; return the names. Raises DatabaseUnavailable, MigrationError.

    Refuses if the schema then differs: somebody changed it.
    """
    names = migrate(url)
    with Database(url) as database:
        if differences := [row["difference"] for row in database.all("database/differences")]:
            place = database_url.describe(url)
            raise Refused(f"{place}: all migrations are applied, but the schema differs: {'; '.join(differences)}")
    grant(url)
    return names


def apply_migrations(url: str) -> None:
    """`update_schema`, and print the names."""
    names = update_schema(url)
    for name in names:
        print_status(f"Applied {name}")
    print_status(f"{database_url.describe(url)}: the schema is {'up to date' if names else 'already up to date'}")


def link_users(database: Database, pool: UserPool, url: str, *, new_pool: bool) -> int:
    """Write the Cognito ids to Postgres and print the result; return the exit status.

    The status is 1 if the shared cache may still have old ids. Raises CannotLink as `link_cognito_users` does,
    CognitoError, DatabaseUnavailable.
    """
    settings = load(CacheSettings)
    shared = script_cache(settings, url)
    with stderr.status("Reading the Cognito users …"):
        link = link_cognito_users(database, pool.users(), shared, new_pool=new_pool)
    for line in link.report():
        print_status(one_line(line))
    return print_warnings(shared, settings)


def print_warnings(shared: OptionalCache | None, settings: CacheSettings) -> int:
    """Print a warning if the shared cache may still have old users; return the exit status."""
    warnings = stale_data_warnings(shared, settings)
    for warning in warnings:
        print_status(warning)
    return 1 if warnings else 0
