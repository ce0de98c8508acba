"""The settings: each variable that the system reads, with its type, default and meaning.

Sections are dataclasses. A script loads one section (`load(PostgresSettings)`), which may consist of others: so the
script names all missing settings at once. The API loads all of them (`load(Settings)`). A variable's name is its
field's name in capitals. The module opens no connection.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints
from urllib.parse import urlsplit

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent.parent

# If the environment or `.env` sets one of these, it describes a stack. Else the running local stack has the settings.
_STACK_VARIABLES = ("DATABASE_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_COGNITO_USER_POOL_ID")

# URL parsers treat these characters differently: two parsers could see two hosts in one URL.
_AMBIGUOUS = re.compile(r"[\\\s\x00-\x1f\x7f]")
_DATABASE_URL = re.compile(r"postgres(ql)?://|postgresql\+iam://[^:@/]+@([^@/]+/|/.*[?&]host=)")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORMS = {
    "region": (re.compile(r"[a-z0-9-]+"), "an AWS region, such as us-east-1"),
    "user_pool": (re.compile(r"[a-z0-9-]+_\w+", re.ASCII), "the id of a user pool, such as us-east-1_AbCdEfGhI"),
    "table": (re.compile(r"[\w.:/-]{3,1024}", re.ASCII), "the name of a table, such as cruddur-messages"),
    # A part of the notation of the package limits. This module does not import it: the functions do without it.
    "rates": (
        re.compile(
            r"off|{0}(; *{0})*".format(r"[1-9]\d{0,8} per ([1-9]\d{0,3} )?(second|minute|hour|day)s?"), re.ASCII
        ),
        "numbers of requests and times, such as 60 per minute; 20 per 10 seconds, or off",
    ),
}

_Kind = Literal[
    "text",
    "region",
    "user_pool",
    "table",
    "rates",
    "address",
    "url",
    "origins",
    "endpoint",
    "database_url",
    "storage_url",
    "secret",
    "secrets",
]

IAM_SCHEME = "postgresql+iam://"
EXAMPLE_SECRET_KEY = "signs-cursors-on-this-machine-alone"  # noqa: S105 - in .env.example, which everybody can read
_NEW_SECRET_KEY = "make one with python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"  # noqa: S105
_BOOTCAMP_NAMES = {"DATABASE_URL": "CONNECTION_URL"}
_LOCAL_HTTP = "it takes https://, or http:// with localhost, 127.0.0.1, [::1] or a host name that ends in .test"


class SettingsError(Exception):
    """Settings are missing or malformed; `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _setting(
    meaning: str,
    *,
    default: Any = MISSING,
    kind: _Kind = "text",
    low: int = 1,
    high: int = 65_535,
    of_stack: bool = True,
) -> Any:
    metadata = {"meaning": meaning, "kind": kind, "low": low, "high": high, "of_stack": of_stack}
    is_public = kind not in ("secret", "secrets", "database_url", "storage_url")  # these URLs hold passwords
    return field(default=default, metadata=metadata, repr=is_public)


class _Section:
    """The base of sections that have defaults or rules of several settings."""

    def __post_init__(self) -> None:
        """Fill in defaults that follow other settings. Raises SettingsError for settings that exclude each other."""

    def _default(self, name: str, value: str) -> None:
        if not getattr(self, name):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True)
class PostgresSettings(_Section):
    """Postgres: the users."""

    database_url: str = _setting(
        "`postgresql://` URL of the database with the users; `postgresql+iam://`, without a password: RDS, which the "
        "process's role of AWS signs in to",
        kind="database_url",
    )
    live_database_url: str = _setting(
        "URL of the same database past a pooler in transaction mode, which delivers no notifications; empty: "
        "`DATABASE_URL`",
        default="",
        kind="database_url",
    )
    database_pool_size: int = _setting(
        "maximum number of Postgres connections of a process; three quarters of `WEB_THREADS` suffice",
        default=8,
        high=500,
        of_stack=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._default("live_database_url", self.database_url)


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """The shared cache: user data that processes share."""

    momento_api_key: str = _setting(
        "API key of Momento; empty: processes share no cache", default="", kind="secret", low=16, of_stack=False
    )
    momento_auth_token: str = _setting(
        "older name of `MOMENTO_API_KEY`; used if that is empty",
        default="",
        kind="secret",
        low=16,
        of_stack=False,
    )
    momento_cache_name: str = _setting(
        "name of the cache; each deployment has its own", default="cruddur", of_stack=False
    )
    momento_ttl_seconds: int = _setting("seconds that Momento keeps a user", default=600, high=86_400, of_stack=False)
    momento_endpoint: str = _setting(
        "endpoint of Momento; empty: the endpoint in the API key", default="", kind="endpoint", of_stack=False
    )

    @property
    def momento_key(self) -> str:
        """The key by its new or its older name; empty if neither is set."""
        return self.momento_api_key or self.momento_auth_token


@dataclass(frozen=True, kw_only=True)
class AwsSettings(_Section):
    """AWS: the settings of every client. boto3's own chain finds the credentials."""

    aws_default_region: str = _setting("AWS region of the table and of the user pool", kind="region")
    allowed_regions: str = _setting("AWS regions that may hold data, separated by commas; empty: all", default="")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_region("AWS_DEFAULT_REGION", self.aws_default_region)

    def _check_region(self, name: str, region: str) -> None:
        allowed = self.allowed_regions.replace(" ", "").split(",")
        if self.allowed_regions and region not in allowed:
            raise SettingsError([f"{name} is in the region {region}; ALLOWED_REGIONS has {', '.join(allowed)}"])


@dataclass(frozen=True, kw_only=True)
class DynamoDBSettings(AwsSettings):
    """DynamoDB: the conversations."""

    ddb_table: str = _setting("name of the table", default="cruddur-messages", kind="table")
    aws_endpoint_url_dynamodb: str | None = _setting(
        "DynamoDB endpoint of an emulator; empty: AWS", default=None, kind="endpoint"
    )


@dataclass(frozen=True, kw_only=True)
class CognitoSettings(AwsSettings):
    """Cognito: sign-in and access tokens."""

    aws_cognito_user_pool_id: str = _setting(
        "id of the Cognito user pool, such as `us-east-1_AbCdEfGhI`", kind="user_pool"
    )
    aws_cognito_user_pool_client_id: str = _setting("app client of the user pool; the front end signs in with it")
    aws_endpoint_url_cognito_identity_provider: str | None = _setting(
        "Cognito endpoint of an emulator; empty: AWS", default=None, kind="endpoint"
    )
    cognito_issuer: str = _setting(
        "`iss` of valid access tokens; empty: the AWS URL of the user pool", default="", kind="endpoint"
    )
    cognito_jwks_url: str = _setting("URL of the public keys; empty: below the issuer", default="", kind="endpoint")
    cognito_jwks_fallback: str = _setting(
        "the content of `COGNITO_JWKS_URL`: it counts from a process's first failed fetch until one succeeds; empty: "
        "every token meanwhile gets a 503",
        default="",
    )
    cognito_public_endpoint: str = _setting(
        "Cognito endpoint that clients call; empty: the endpoint that the API calls", default="", kind="endpoint"
    )
    demo_users: str = _setting(
        "user names, separated by commas, that the page and `/api/client-config` offer for sign-in; local stacks only",
        default="",
    )
    demo_password: str = _setting("the public password of the `DEMO_USERS`", default="")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.demo_users and not is_local(self.aws_endpoint_url_cognito_identity_provider):
            raise SettingsError(["DEMO_USERS is set, but Cognito is not local: everybody could sign in as these users"])
        # The pool's id begins with the pool's region, which need not be the table's.
        region = self.aws_cognito_user_pool_id.partition("_")[0]
        self._check_region("AWS_COGNITO_USER_POOL_ID", region)
        self._default("cognito_issuer", f"https://cognito-idp.{region}.amazonaws.com/{self.aws_cognito_user_pool_id}")
        self._default("cognito_jwks_url", f"{self.cognito_issuer}/.well-known/jwks.json")
        endpoint = self.aws_endpoint_url_cognito_identity_provider or f"https://cognito-idp.{region}.amazonaws.com"
        self._default("cognito_public_endpoint", endpoint)


@dataclass(frozen=True, kw_only=True)
class ApiSettings(_Section):
    """The API and its server."""

    secret_key: str = _setting(
        "key of 32 characters or more that signs cursors; all processes of a deployment need the same key",
        kind="secret",
        low=32,
    )
    secret_key_fallbacks: str = _setting(
        "other keys whose signatures are valid, separated by commas; needed to replace the key",
        default="",
        kind="secrets",
        low=16,
    )
    frontend_url: str = _setting(
        "origin of the front end, or several separated by commas; CORS allows them",
        default="http://localhost:3000",
        kind="origins",
    )
    backend_url: str = _setting(
        "URL at which clients reach the API; the URLs in `Link` begin with it, and CORS allows its origin; empty: "
        "`http://localhost` with the `PORT`",
        default="",
        kind="url",
        of_stack=False,
    )
    messages_order: Literal["desc", "asc"] = _setting(
        "default order inside a page of messages: `desc` is newest first, `asc` oldest first", default="desc"
    )
    feed_window_seconds: int = _setting(
        "seconds that the feed looks back to find late commits and writes by slow clocks", default=10, low=10, high=3600
    )
    first_contacts_per_day: int = _setting(
        "number of conversations that a user may begin on a day in UTC; all processes count together",
        default=30,
        high=1_000_000,
    )
    group_updates: Literal["inline", "stream"] = _setting(
        "what updates the inbox rows: the message's transaction (`inline`) or the function on the stream (`stream`)",
        default="inline",
    )
    web_client: Literal["off", "on"] = _setting(
        "whether the server has a page at `/` where two people can talk", default="off"
    )
    rate_limit_sends: str = _setting(
        "sends of a user, also repeated and invalid ones, or `off`",
        default="60 per minute; 20 per 10 seconds",
        kind="rates",
    )
    rate_limit_changes: str = _setting(
        "other changes by a user, such as of the profile, or `off`", default="60 per minute", kind="rates"
    )
    rate_limit_profiles: str = _setting(
        "reads of public profiles from an address, or `off`", default="120 per minute", kind="rates"
    )
    rate_limit_anonymous: str = _setting(
        "requests without a valid token from an address, or `off`; the page takes 30",
        default="600 per minute",
        kind="rates",
    )
    rate_limit_storage_url: str = _setting(
        "`redis://`, `rediss://`, `valkey://` or `valkeys://` URL of the store where all processes count the requests "
        "of these limits; empty: each process counts by itself",
        default="",
        kind="storage_url",
    )
    trusted_proxies: int = _setting(
        "number of proxies in front of the server that each add an address to `X-Forwarded-For`; 0: the address of the "
        "connection counts",
        default=0,
        low=0,
        high=9,
    )
    streams_per_user: int = _setting("event streams that a user may have at one process", default=10, high=1_000)
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "lowest level of the server's log lines", default="info", of_stack=False
    )
    host: str = _setting("IP address that the server listens on", default="127.0.0.1", kind="address", of_stack=False)
    port: int = _setting("port that the server listens on", default=4567, of_stack=False)
    web_concurrency: int = _setting("worker processes of the server", default=2, high=256, of_stack=False)
    web_threads: int = _setting(
        "request threads of a worker process; at most half serve one client, three quarters wait for one dependency",
        default=8,
        high=256,
        of_stack=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._default("backend_url", f"http://localhost:{self.port}")

    @property
    def secret_keys(self) -> list[str]:
        """All keys whose signatures are valid. The last one signs."""
        return [*filter(None, self.secret_key_fallbacks.split(",")), self.secret_key]

    @property
    def origins(self) -> list[str]:
        """The origins of the pages that may read responses."""
        return [*self.frontend_url.split(","), _origin(self.backend_url)]


@dataclass(frozen=True, kw_only=True)
class Settings(CacheSettings, PostgresSettings, DynamoDBSettings, CognitoSettings, ApiSettings):
    """Everything that the API needs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        endpoints = (self.aws_endpoint_url_dynamodb, self.aws_endpoint_url_cognito_identity_provider)
        if EXAMPLE_SECRET_KEY in self.secret_keys and not all(map(is_local, endpoints)):
            raise SettingsError([f"SECRET_KEY is the public one of .env.example; for AWS, {_NEW_SECRET_KEY}"])


@dataclass(frozen=True, kw_only=True)
class UsersSettings(CacheSettings, PostgresSettings):
    """What scripts need that change users: the shared cache may have old data of them."""


@dataclass(frozen=True, kw_only=True)
class PoolAndUsersSettings(CognitoSettings, UsersSettings):
    """What scripts need that compare the user pool with the users."""


@dataclass(frozen=True, kw_only=True)
class TableAndUsersSettings(DynamoDBSettings, PostgresSettings):
    """What scripts need that read the conversations and the users."""


S = TypeVar("S")


def load(section: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Read one section of the settings.

    Without `environ`, variables come from the process's environment, then from `.env` in the checkout. If neither
    describes a stack, the variables of `stack.env` override both, so that two stacks never mix. bin/dev writes this
    file. It has neither Momento's settings nor those of one process, such as its port. This function exports the
    variables of the files, because boto3 reads its credentials from the environment. PYTHON_DOTENV_DISABLED turns
    `.env` off.

    Raises SettingsError that names every missing or malformed variable.
    """
    if environ is None:
        export_files()
        environ = os.environ
    hints = get_type_hints(section)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, setting in declarations(section).items():
        text = environ.get(name, "").strip()
        if text:
            try:
                values[setting.name] = _parse(text, hints[setting.name], setting)
            except ValueError as error:
                problems.append(f"{name} {error}")
        elif setting.default is MISSING:
            old_name = _BOOTCAMP_NAMES.get(name, "")
            advice = f" (the value of {old_name})" if environ.get(old_name) else ""
            problems.append(f"{name} is missing: {setting.metadata['meaning']}{advice}")
    endpoint = environ.get("AWS_ENDPOINT_URL", "")  # boto3 uses it for services without their own endpoint
    if issubclass(section, AwsSettings) and endpoint:
        try:
            _parse_url(endpoint, allow_http=False)
        except ValueError as error:
            problems.append(f"AWS_ENDPOINT_URL {error}")
    if problems:
        raise SettingsError(problems)
    return section(**values)


def declarations(section: type) -> dict[str, Field[Any]]:
    """The settings of a section, by the names of their variables."""
    return {setting.name.upper(): setting for setting in fields(section)}


def local_dir() -> Path:
    """The local stack's folder (`LOCAL_DIR`, by default `.local` in the checkout)."""
    return Path(os.environ.get("LOCAL_DIR") or ROOT / ".local").absolute()


def export_files() -> None:
    """Bring `.env` and `stack.env` into the process's environment, by the rules of `load`."""
    if not os.environ.get("PYTHON_DOTENV_DISABLED"):
        _export(ROOT / ".env")
    if not any(os.environ.get(name) for name in _STACK_VARIABLES):
        _export(local_dir() / "stack.env", override=True)


def _export(path: Path, *, override: bool = False) -> None:
    settings, ignored = declarations(Settings), []
    for name, value in dotenv_values(path).items():
        if value and override and name in settings and os.environ.get(name, "") not in ("", value):
            ignored.append(name)
        if value and (override or not os.environ.get(name)):
            os.environ[name] = value
    if ignored:
        sys.stderr.write(f"Ignored: {', '.join(ignored)}. The running local stack sets them in {path}.\n")


def is_local(url: str | None) -> bool:
    """Whether a URL leads to a local stack: loopback, or a host of the compose file.

    The services of the compose file have names under `.test`, a domain that is never public (RFC 6761).
    No URL means AWS itself, which is not local.
    """
    if not url or _AMBIGUOUS.search(url):
        return False
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "127.0.0.1", "::1") or host.endswith(".test")


def _parse(text: str, hint: Any, setting: Field[Any]) -> Any:
    """The value of a text, by the setting's type and declaration. ValueError says what the setting takes."""
    if not text.isprintable():  # also bytes that are no UTF-8, which the environment can hold
        raise ValueError("is not printable text")
    if choices := [choice for choice in get_args(hint) if isinstance(choice, str)]:
        if text not in choices:
            raise ValueError(f"is {text!r}; it takes {' or '.join(choices)}")
        return text
    low, high = setting.metadata["low"], setting.metadata["high"]
    if hint is int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"is {text!r}; it takes a whole number from {low} to {high}")
        return int(text)
    return _parse_text(text, setting.metadata["kind"], low)


def _parse_text(text: str, kind: str, low: int) -> str:
    parts = [part.strip() for part in text.split(",")] if kind in ("origins", "secrets") else [text]
    if kind in _FORMS and not _FORMS[kind][0].fullmatch(text):
        raise ValueError(f"is {text!r}; it takes {_FORMS[kind][1]}")
    if kind == "address" and not _is_address(text):
        raise ValueError(f"is {text!r}; it takes an IP address, such as 127.0.0.1, 0.0.0.0 or ::1")
    if kind == "origins":
        parts = [_parse_origin(part) for part in parts]
    if kind in ("url", "endpoint"):
        return _parse_url(text, allow_http=kind == "url")
    # The messages about these have no value, because it holds a password or is one.
    if kind == "database_url" and not _DATABASE_URL.match(text):
        raise ValueError(f"is not a postgresql:// URL, or a {IAM_SCHEME} URL with user and host and without a password")
    if kind == "storage_url" and not _is_storage_url(text):
        raise ValueError("is not a redis://, rediss://, valkey:// or valkeys:// URL")
    if kind in ("secret", "secrets") and len(min(parts, key=len)) < low:
        raise ValueError(f"is too short; it takes {low} characters or more")
    return ",".join(parts)


def _is_storage_url(text: str) -> bool:
    """Whether a text is a URL of a Redis or Valkey. A `/` in a password would end the host, and be no port."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("redis", "rediss", "valkey", "valkeys") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _parse_origin(text: str) -> str:
    """An origin, which must have the form in which a browser sends it."""
    url = _parse_url(text, allow_http=True).lower()
    if url != _origin(url):
        raise ValueError(f"is {text!r}; a browser sends {_origin(url)!r}")
    return url


def _origin(url: str) -> str:
    """The origin of a URL, without a default port."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _parse_url(text: str, *, allow_http: bool) -> str:
    """An http or https URL without a trailing slash. Unless `allow_http`, an http URL must lead to a local stack."""
    if not text.isascii():
        raise ValueError(f"is {text!r}; it takes ASCII, so a host name such as xn--bcher-kva.example")
    try:
        parts = urlsplit(text)
        is_valid = _is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or parts.scheme not in _DEFAULT_PORTS or parts.username is not None or _AMBIGUOUS.search(text):
        raise ValueError(f"is {text!r}; it takes a URL that begins with http:// or https:// and a host")
    if re.search('[?#<>"]', text):  # the last three would break the header `Link`
        raise ValueError(f"is {text!r}; it takes a URL without ? # < > and quotes")
    if parts.scheme == "http" and not allow_http and not is_local(text):
        raise ValueError(f"is {text!r}; {_LOCAL_HTTP}")
    return parts.scheme + text[len(parts.scheme) :].rstrip("/")


def _is_host(name: str) -> bool:
    """Whether this is a host name or an IP address in its usual form. A name does not end in a number."""
    is_name = ":" not in name and not name.rpartition(".")[2].isdigit()
    return bool(_HOST.fullmatch(name)) if is_name else "%" not in name and _is_address(name)


def _is_address(text: str) -> bool:
    """Whether this is an IP address in its usual form."""
    try:
        return str(ip_address(text)) == text
    except ValueError:
        return False
