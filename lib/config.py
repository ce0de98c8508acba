"""The settings: each variable that the system reads, with its type, default and meaning.

Sections are dataclasses. A script loads the sections that it needs (`load(PostgresSettings)`); the API loads all of
them (`load(Settings)`). A variable's name is its field's name in capitals. The module opens no connection.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints
from urllib.parse import urlsplit

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent.parent

# If the environment or `.env` sets one of these, it describes a stack. Else the running local stack has the settings.
_STACK_VARIABLES = ("DATABASE_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_COGNITO_USER_POOL_ID")

# URL parsers treat these characters differently: two parsers could see two hosts in one URL.
_AMBIGUOUS = re.compile(r"[\\\s\x00-\x1f\x7f]")


class SettingsError(Exception):
    """Settings are missing or malformed; `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _setting(
    meaning: str,
    *,
    default: Any = MISSING,
    kind: Literal["text", "url", "endpoint", "database_url", "secret"] = "text",
    low: int = 1,
    high: int = 65_535,
    of_stack: bool = True,
) -> Any:
    metadata = {"meaning": meaning, "kind": kind, "low": low, "high": high, "of_stack": of_stack}
    is_public = kind not in ("secret", "database_url")  # a database URL holds a password
    return field(default=default, metadata=metadata, repr=is_public)


@dataclass(frozen=True, kw_only=True)
class PostgresSettings:
    """Postgres: the users."""

    database_url: str = _setting("`postgresql://` URL of the database with the users", kind="database_url")
    database_pool_size: int = _setting(
        "maximum number of Postgres connections of a process", default=8, high=500, of_stack=False
    )


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """The shared cache: user data that processes share."""

    momento_api_key: str = _setting(
        "API key of Momento; empty: processes share no cache", default="", kind="secret", of_stack=False
    )
    momento_auth_token: str = _setting(
        "older name of `MOMENTO_API_KEY`, which the system reads if that is empty",
        default="",
        kind="secret",
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
class AwsSettings:
    """AWS: the settings of every client. boto3's own chain finds the credentials."""

    aws_default_region: str = _setting("AWS region of the table and of the user pool")
    allowed_regions: str = _setting("AWS regions that may hold data, separated by commas; empty: all", default="")

    def __post_init__(self) -> None:
        self._check_region("AWS_DEFAULT_REGION", self.aws_default_region)

    def _check_region(self, name: str, region: str) -> None:
        allowed = self.allowed_regions.replace(" ", "").split(",")
        if self.allowed_regions and region not in allowed:
            raise SettingsError([f"{name} is in the region {region}; ALLOWED_REGIONS has {', '.join(allowed)}"])


@dataclass(frozen=True, kw_only=True)
class DynamoDBSettings(AwsSettings):
    """DynamoDB: the conversations."""

    ddb_table: str = _setting("name of the table", default="cruddur-messages")
    aws_endpoint_url_dynamodb: str | None = _setting(
        "DynamoDB endpoint of an emulator; empty: AWS", default=None, kind="endpoint"
    )


@dataclass(frozen=True, kw_only=True)
class CognitoSettings(AwsSettings):
    """Cognito: sign-in and access tokens."""

    aws_cognito_user_pool_id: str = _setting("id of the Cognito user pool, such as `us-east-1_AbCdEfGhI`")
    aws_cognito_user_pool_client_id: str = _setting("app client of the user pool; the front end signs in with it")
    aws_endpoint_url_cognito_identity_provider: str | None = _setting(
        "Cognito endpoint of an emulator; empty: AWS", default=None, kind="endpoint"
    )
    cognito_issuer: str = _setting(
        "`iss` of valid access tokens; empty: the AWS URL of the user pool", default="", kind="endpoint"
    )
    cognito_jwks_url: str = _setting("URL of the public keys; empty: below the issuer", default="", kind="endpoint")

    def __post_init__(self) -> None:
        super().__post_init__()
        # The pool's id begins with the pool's region, which need not be the table's.
        region = self.aws_cognito_user_pool_id.partition("_")[0]
        self._check_region("AWS_COGNITO_USER_POOL_ID", region)
        issuer = self.cognito_issuer or (f"https://cognito-idp.{region}.amazonaws.com/{self.aws_cognito_user_pool_id}")
        object.__setattr__(self, "cognito_issuer", issuer)
        object.__setattr__(self, "cognito_jwks_url", self.cognito_jwks_url or f"{issuer}/.well-known/jwks.json")


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """The API and its server."""

    secret_key: str = _setting("key that signs cursors; all processes of a deployment need the same key", kind="secret")
    frontend_url: str = _setting("origin of the front end; CORS allows it", default="http://localhost:3000", kind="url")
    backend_url: str = _setting(
        "origin at which clients reach the API; CORS allows it, and the URLs in `Link` begin with it",
        default="http://localhost:4567",
        kind="url",
    )
    messages_order: Literal["desc", "asc"] = _setting(
        "default order inside a page of messages: `desc` is newest first, `asc` oldest first", default="desc"
    )
    feed_window_seconds: int = _setting(
        "seconds that the feed looks back to find late commits and writes by slow clocks", default=10, high=3600
    )
    group_updates: Literal["inline", "stream"] = _setting(
        "what updates the inbox rows: the message's transaction (`inline`) or the function on the stream (`stream`)",
        default="inline",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "lowest level of the server's log lines", default="info", of_stack=False
    )
    host: str = _setting("address that the server listens on", default="127.0.0.1", of_stack=False)
    port: int = _setting("port that the server listens on", default=4567, of_stack=False)
    web_concurrency: int = _setting("worker processes of the server", default=2, high=256, of_stack=False)
    web_threads: int = _setting(
        "request threads of a worker process; one client uses at most half of them", default=8, high=256, of_stack=False
    )


@dataclass(frozen=True, kw_only=True)
class Settings(CacheSettings, PostgresSettings, DynamoDBSettings, CognitoSettings, ApiSettings):
    """Everything that the API needs."""


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
        _export_files()
        environ = os.environ
    hints = get_type_hints(section)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for setting in fields(section):  # type: ignore[arg-type]
        name = setting.name.upper()
        text = environ.get(name, "").strip()
        if text:
            try:
                values[setting.name] = _parse(text, hints[setting.name], setting)
            except ValueError as error:
                problems.append(f"{name} {error}")
        elif setting.default is MISSING:
            problems.append(f"{name} is missing: {setting.metadata['meaning']}")
    endpoint = environ.get("AWS_ENDPOINT_URL", "")  # boto3 uses it for services without their own endpoint
    if issubclass(section, AwsSettings) and endpoint and not (endpoint.startswith("https://") or is_local(endpoint)):
        problems.append("AWS_ENDPOINT_URL takes https:// for any host but this machine's own")
    if problems:
        raise SettingsError(problems)
    return section(**values)


def local_dir() -> Path:
    """The local stack's folder (`LOCAL_DIR`, by default `.local` in the checkout)."""
    return Path(os.environ.get("LOCAL_DIR") or ROOT / ".local").absolute()


def _export_files() -> None:
    if not os.environ.get("PYTHON_DOTENV_DISABLED"):
        _export(ROOT / ".env")
    if not any(os.environ.get(name) for name in _STACK_VARIABLES):
        _export(local_dir() / "stack.env", override=True)


def _export(path: Path, *, override: bool = False) -> None:
    settings = {setting.name.upper() for setting in fields(Settings)}
    ignored = []
    for name, value in dotenv_values(path).items():
        if value and override and name in settings and os.environ.get(name, "") not in ("", value):
            ignored.append(name)
        if value and (override or not os.environ.get(name)):
            os.environ[name] = value
    if ignored:
        sys.stderr.write(f"Ignored: {', '.join(ignored)}. The running local stack sets them in {path}.\n")


def is_local(url: str | None) -> bool:
    """Whether a URL leads to a local stack: loopback, a unix socket, or a host of the compose file.

    The services of the compose file have names under `.test`, a domain that is never public (RFC 6761).
    No URL means AWS itself, which is not local.
    """
    if not url or _AMBIGUOUS.search(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if host is None:
        return parts.scheme.startswith("postgres")
    return host in ("localhost", "127.0.0.1", "::1") or host.endswith(".test")


def _parse(text: str, hint: Any, setting: Field[Any]) -> Any:
    """The value of a text, by the setting's type and declaration. ValueError says what the setting takes."""
    if choices := [choice for choice in get_args(hint) if isinstance(choice, str)]:
        if text not in choices:
            raise ValueError(f"is {text!r}; it takes {' or '.join(choices)}")
        return text
    if hint is int:
        low, high = setting.metadata["low"], setting.metadata["high"]
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"is {text!r}; it takes a whole number from {low} to {high}")
        return int(text)
    kind = setting.metadata["kind"]
    if kind in ("url", "endpoint"):
        return _parse_url(text, allow_http=kind == "url")
    if kind == "database_url" and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("is not a postgresql:// URL")  # no value in the message: it holds a password
    if kind == "secret" and len(text) < 16:
        raise ValueError("is too short; it takes 16 characters or more")
    return text


def _parse_url(text: str, *, allow_http: bool) -> str:
    """An http or https URL without a trailing slash. Unless `allow_http`, an http URL must lead to a local stack."""
    parts = urlsplit(text)
    is_absolute = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
    if not is_absolute or _AMBIGUOUS.search(text):
        raise ValueError(f"is {text!r}; it takes a URL that begins with http:// or https://")
    if parts.scheme == "http" and not allow_http and not is_local(text):
        raise ValueError(f"is {text!r}; it takes https:// for any host but this machine's own")
    return text.rstrip("/")
