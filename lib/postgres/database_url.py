"""What a Postgres URL says, read as Postgres's own library reads it: `?host=` and the PG* variables count.

Nothing here gives a password to anybody but to the server. Opens no connection.
"""

from __future__ import annotations

import os
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lib import config
from lib.config import SettingsError


def describe(url: str) -> str:
    """`host:port/database`, for people: without user and password."""
    parts = _parse(url)
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"{host}:{parts['port']}/{parts['dbname']}" if parts.get("port") else f"{host}/{parts['dbname']}"


def database_name(url: str) -> str:
    """The database that the URL names."""
    return str(_parse(url)["dbname"])


def is_local(url: str) -> bool:
    """Whether every host that the URL leads to is a local stack's."""
    parts = _parse(url)
    if parts.get("service"):
        return False  # a file elsewhere says which host that is
    hosts = f"{parts.get('host') or ''},{parts.get('hostaddr') or ''}".split(",")
    named = [host for host in hosts if host and not host.startswith("/")]
    urls = [f"postgresql://[{host}]" if ":" in host else f"postgresql://{host}" for host in named]
    return all(config.is_local(each) for each in urls)


def split_password(url: str) -> tuple[str, str | None]:
    """The connection string without its password, and the password: everybody can read a command line."""
    parts = conninfo_to_dict(url)
    password = parts.pop("password", None)
    return make_conninfo("", **parts), str(password) if password else None


def _parse(url: str) -> dict[str, Any]:
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        # The library's message quotes pieces of the URL, which may be pieces of its password.
        raise SettingsError(["DATABASE_URL is no URL that Postgres's library understands"]) from None
    if not parts.get("dbname"):
        raise SettingsError(["DATABASE_URL names no database; it ends in /<name>"])
    ports = str(parts.get("port", "")).split(",")
    hosts = str(parts.get("host", "")).split(",")
    # `@` begins the name of an abstract socket.
    misread = "@" in str(parts["dbname"]) or any("@" in host[1:] for host in hosts)
    if misread or not all(port.isdigit() for port in ports if port):
        # Read on, pieces of the password would be taken for a host, a port and a database, and shown as such.
        raise SettingsError(["DATABASE_URL: in a password, `/`, `@` and `:` are written as %2F, %40 and %3A"])
    variables = {name: os.environ.get(f"PG{name.upper()}") for name in ("host", "hostaddr", "port", "service")}
    return {name: value for name, value in variables.items() if value} | parts
