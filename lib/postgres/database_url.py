"""Parses Postgres URLs as libpq does, including `?host=` and the PG* variables.

A URL that begins with `postgresql+iam://` has no password: each connection verifies the certificate of RDS, and signs
in with a new token. No message quotes a password. Opens no connection.
"""

from __future__ import annotations

import os
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from psycopg import OperationalError, ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lib import config
from lib.aws.rds import sign_in_token
from lib.config import IAM_SCHEME, ROOT, SettingsError

LOCAL_PASSWORD = "local-only"  # noqa: S105 - public

_ROOTS = ROOT / "db" / "rds-roots.pem"
_PORT = 5432


def describe(url: str) -> str:
    """`host:port/database`, without user and password."""
    parts = _parse(url)
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"{host}:{parts['port']}/{parts['dbname']}" if parts.get("port") else f"{host}/{parts['dbname']}"


def database_name(url: str) -> str:
    """The database that the URL names."""
    return str(_parse(url)["dbname"])


def is_local(url: str) -> bool:
    """Whether the URL has the public password of local stacks, and names no host but this machine.

    A tunnel to another system begins at a port or at a unix socket of this machine, too.
    """
    parts = _parse(url)
    if parts.get("service") or parts.get("password") != LOCAL_PASSWORD:
        return False  # a file elsewhere names the service's host
    hosts = f"{parts.get('host') or ''},{parts.get('hostaddr') or ''}".split(",")
    names = [host for host in hosts if host and not host.startswith("/")]
    return all(config.is_local(f"postgresql://[{name}]" if ":" in name else f"postgresql://{name}") for name in names)


def connection_string(url: str, **parameters: str) -> str:
    """The connection string of one new connection: the URL with other `parameters`, and for an IAM URL a new token.

    Raises psycopg.OperationalError if this process has no credentials of AWS.
    """
    if not url.startswith(IAM_SCHEME):
        return make_conninfo(url, **parameters) if parameters else url
    parts = _parse(url)
    try:
        token = sign_in_token(parts["host"], int(parts.get("port") or _PORT), parts["user"])
    # The credentials cannot be renewed (ClientError, RuntimeError), or the port is none (ValueError).
    except (BotoCoreError, ClientError, RuntimeError, ValueError) as error:
        raise OperationalError(f"no token to sign in with: {error}") from error
    return make_conninfo(without_token(url), **parameters, password=token)


def without_token(url: str) -> str:
    """The connection string without a token: libpq then uses PGPASSWORD. An IAM URL verifies RDS's certificate."""
    verify = {"sslmode": "verify-full", "sslrootcert": str(_ROOTS)} if url.startswith(IAM_SCHEME) else {}
    return make_conninfo(url.replace(IAM_SCHEME, "postgresql://", 1), **verify)


def split_password(url: str) -> tuple[str, str | None]:
    """The connection string without its password, and the password: other users can read a command line."""
    parts = conninfo_to_dict(connection_string(url))
    password = parts.pop("password", None)
    return make_conninfo("", **parts), str(password) if password else None


def _parse(url: str) -> dict[str, Any]:
    try:
        parts = conninfo_to_dict(url.replace(IAM_SCHEME, "postgresql://", 1))
    except ProgrammingError:
        # libpq's message quotes parts of the URL, possibly of its password.
        raise SettingsError(["DATABASE_URL is not a URL that libpq understands"]) from None
    if not parts.get("dbname"):
        raise SettingsError(["DATABASE_URL names no database; it ends in /<name>"])
    ports = str(parts.get("port", "")).split(",")
    hosts = str(parts.get("host", "")).split(",")
    # `@` begins the name of an abstract socket.
    misread = "@" in str(parts["dbname"]) or any("@" in host[1:] for host in hosts)
    if misread or not all(port.isdigit() for port in ports if port):
        # The parser mistook a part of the password for a host, a port or a database. Later messages would show it.
        raise SettingsError(["DATABASE_URL: in a password, write `/`, `@` and `:` as %2F, %40 and %3A"])
    variables = {name: os.environ.get(f"PG{name.upper()}") for name in ("host", "hostaddr", "port", "service")}
    return {name: value for name, value in variables.items() if value} | parts
