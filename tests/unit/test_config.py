"""Settings are read once, typed, from one place after the other, and what is wrong with them is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from lib import config
from lib.config import (
    ROOT,
    ApiSettings,
    CacheSettings,
    CognitoSettings,
    DynamoDBSettings,
    PostgresSettings,
    Settings,
    SettingsError,
    is_local,
    load,
    local_dir,
)
from tools.local_stack.environment import write_stack_env

MINIMUM = {
    "DATABASE_URL": "postgresql://cruddur:secret-of-the-database@db.example.com/cruddur",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_COGNITO_USER_POOL_ID": "us-east-1_AbCdEfGhI",
    "AWS_COGNITO_USER_POOL_CLIENT_ID": "3n4b5urk1ft4fl3mg5e62d9ado",
    "SECRET_KEY": "sixteen characters or more",
}
AWS_URLS = (
    *("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"),
    *("COGNITO_ISSUER", "COGNITO_JWKS_URL"),
)
DECLARED = {each.name.upper(): each for each in fields(Settings)}

Files = Callable[..., None]


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(Settings, environ)
    return raised.value.problems


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Write `.env` of a checkout and `stack.env` of a running local stack; the environment names no stack."""
    for name in (*DECLARED, "PYTHON_DOTENV_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(config, "ROOT", tmp_path)
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path / "local"))
    (tmp_path / "local").mkdir()

    def write(*, dotenv: dict[str, str] | None = None, stack: dict[str, str] | None = None) -> None:
        for path, variables in ((tmp_path / ".env", dotenv), (tmp_path / "local/stack.env", stack)):
            if variables is not None:
                path.write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))

    return write


def test_the_minimum_is_enough_and_the_rest_has_defaults() -> None:
    settings = load(Settings, MINIMUM)
    values = (settings.ddb_table, settings.messages_order, settings.group_updates, settings.host, settings.port)
    assert values == ("cruddur-messages", "desc", "inline", "127.0.0.1", 4567)
    assert settings.aws_endpoint_url_dynamodb is None


def test_the_minimum_is_every_setting_without_a_default() -> None:
    assert set(MINIMUM) == {name for name, each in DECLARED.items() if each.default is MISSING}


@pytest.mark.parametrize("name", MINIMUM)
@pytest.mark.parametrize("blank", [None, "", "  "])
def test_a_missing_setting_is_named_with_its_meaning(name: str, blank: str | None) -> None:
    environ = {**MINIMUM, name: blank} if blank is not None else {k: v for k, v in MINIMUM.items() if k != name}
    assert problems(environ) == [f"{name} is missing: {DECLARED[name].metadata['meaning']}"]


def test_everything_that_is_wrong_is_named_at_once() -> None:
    named = problems({"PORT": "http", "LOG_LEVEL": "loud"})
    assert [each.split()[0] for each in named] == [name for name in DECLARED if name in (*MINIMUM, "PORT", "LOG_LEVEL")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://cruddur:secret-of-the-database@db.example.com/cruddur"),
        ("SECRET_KEY", "fifteen letters"),
        *(("MESSAGES_ORDER", "newest"), ("MESSAGES_ORDER", "DESC"), ("GROUP_UPDATES", "both"), ("LOG_LEVEL", "INFO")),
        *((name, value) for name in ("PORT", "WEB_THREADS") for value in ("0", "-1", "+1", "1.5", "1_000", "٣", "x")),
        *(("PORT", "65536"), ("WEB_CONCURRENCY", "257"), ("WEB_THREADS", "257"), ("DATABASE_POOL_SIZE", "501")),
        *(("FEED_WINDOW_SECONDS", value) for value in ("0", "3601", "0.5", "10s")),
        *(
            (name, value)
            for name in (*AWS_URLS, "FRONTEND_URL", "BACKEND_URL")
            for value in ("localhost:8000", "ftp://localhost", "https://", "//localhost")
        ),
    ],
)
def test_a_malformed_setting_is_named(name: str, value: str) -> None:
    (problem,) = problems({**MINIMUM, name: value})
    assert problem.startswith(f"{name} is ")


def test_secrets_are_not_repeated_in_problems() -> None:
    named = problems({**MINIMUM, "DATABASE_URL": "mysql://u:hunter2@h/d", "SECRET_KEY": "hunter3"})
    assert "hunter" not in " ".join(named)


def test_values_are_typed_and_urls_lose_their_last_slash() -> None:
    variables = {"PORT": " 8080 ", "BACKEND_URL": "https://api.example.com/", "MESSAGES_ORDER": "asc"}
    settings = load(Settings, {**MINIMUM, **variables})
    values = (settings.port, settings.backend_url, settings.messages_order)
    assert values == (8080, "https://api.example.com", "asc")


def test_a_script_asks_for_no_more_than_its_section() -> None:
    assert load(PostgresSettings, {"DATABASE_URL": "postgres:///cruddur"}).database_url == "postgres:///cruddur"
    assert load(DynamoDBSettings, {"AWS_DEFAULT_REGION": "eu-central-1"}).ddb_table == "cruddur-messages"
    assert load(ApiSettings, {"SECRET_KEY": "0123456789abcdef"}).web_threads == 8


def test_issuer_and_keys_follow_from_the_pool_whose_region_may_be_another() -> None:
    settings = load(CognitoSettings, MINIMUM)
    assert settings.cognito_issuer == "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEfGhI"
    assert settings.cognito_jwks_url == f"{settings.cognito_issuer}/.well-known/jwks.json"


def test_an_issuer_of_its_own_moves_the_keys_and_a_key_url_of_its_own_moves_them_alone() -> None:
    issuer, keys = "https://id.example.com/pool", "http://cognito.test:4566/pool/keys"
    moved = load(CognitoSettings, {**MINIMUM, "COGNITO_ISSUER": issuer})
    assert moved.cognito_jwks_url == f"{issuer}/.well-known/jwks.json"
    apart = load(CognitoSettings, {**MINIMUM, "COGNITO_JWKS_URL": keys})
    assert apart.cognito_jwks_url == keys
    assert apart.cognito_issuer.startswith("https://cognito-idp.us-east-1.")


@pytest.mark.parametrize("name", AWS_URLS)
def test_plain_http_is_for_a_local_stack_alone(name: str) -> None:
    for url in ("http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000", "http://dynamodb.test:8000"):
        assert getattr(load(Settings, {**MINIMUM, name: url}), name.lower()) == url
    for url in ("http://dynamodb.us-east-1.amazonaws.com", "http://127.0.0.1.example.com", "http://10.0.0.1:8000"):
        assert problems({**MINIMUM, name: url}) == [
            f"{name} is {url!r}; it takes https:// for any host but this machine's own"
        ]
        load(Settings, {**MINIMUM, name: url.replace("http:", "https:")})
    load(Settings, {**MINIMUM, "FRONTEND_URL": "http://app.example.com"})  # the browser's address may be plain


def test_plain_http_leads_no_other_service_elsewhere_either() -> None:
    name, url = "AWS_ENDPOINT_URL", "http://dynamodb.us-east-1.amazonaws.com"
    for section in (Settings, DynamoDBSettings, CognitoSettings):
        with pytest.raises(SettingsError) as raised:
            load(section, {**MINIMUM, name: url})
        assert raised.value.problems == [f"{name} takes https:// for any host but this machine's own"]
        for other in ("http://127.0.0.1:4566", url.replace("http:", "https:")):
            load(section, {**MINIMUM, name: other})
    load(PostgresSettings, {**MINIMUM, name: url})


def test_a_browser_may_be_served_by_plain_http() -> None:
    url = "http://app.example.com"
    assert load(Settings, {**MINIMUM, "FRONTEND_URL": url}).frontend_url == url


def test_a_region_that_is_not_allowed_is_refused_for_the_table_and_for_the_pool() -> None:
    load(Settings, {**MINIMUM, "ALLOWED_REGIONS": "eu-central-1, us-east-1"})
    assert problems({**MINIMUM, "ALLOWED_REGIONS": "us-east-1,eu-west-1"}) == [
        "AWS_DEFAULT_REGION is in the region eu-central-1; ALLOWED_REGIONS has us-east-1, eu-west-1"
    ]
    assert problems({**MINIMUM, "ALLOWED_REGIONS": "eu-central-1"}) == [
        "AWS_COGNITO_USER_POOL_ID is in the region us-east-1; ALLOWED_REGIONS has eu-central-1"
    ]
    with pytest.raises(SettingsError):
        load(DynamoDBSettings, {"AWS_DEFAULT_REGION": "eu-central-1", "ALLOWED_REGIONS": "us-east-1"})


def test_the_environment_goes_before_dotenv(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files(dotenv={**MINIMUM, "DDB_TABLE": "from-dotenv", "LOG_LEVEL": "debug"})
    monkeypatch.setenv("DDB_TABLE", "from-environment")
    monkeypatch.setenv("LOG_LEVEL", "")  # blank is as good as not there
    settings = load(Settings)
    assert (settings.ddb_table, settings.log_level) == ("from-environment", "debug")


def test_dotenv_is_exported_for_boto3_unless_it_is_disabled(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files(dotenv={**MINIMUM, "AWS_PROFILE": "cruddur"})
    with monkeypatch.context() as patch:
        patch.setenv("PYTHON_DOTENV_DISABLED", "1")
        with pytest.raises(SettingsError):
            load(Settings)
    load(Settings)
    assert os.environ["AWS_PROFILE"] == "cruddur"


def test_dotenv_can_be_kept_out(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files(dotenv=MINIMUM)
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "1")

    with pytest.raises(SettingsError):
        load(Settings)


def test_a_running_stack_is_taken_as_a_whole_and_ignored_settings_are_named(
    files: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files(
        dotenv={"DDB_TABLE": "from-dotenv"}, stack={**MINIMUM, "DDB_TABLE": "of-the-stack", "GROUP_UPDATES": "stream"}
    )
    monkeypatch.setenv("GROUP_UPDATES", "inline")
    settings = load(Settings)
    assert (settings.ddb_table, settings.group_updates) == ("of-the-stack", "stream")
    assert "Ignored: DDB_TABLE, GROUP_UPDATES. The running local stack sets them in " in capsys.readouterr().err
    assert settings.database_url == MINIMUM["DATABASE_URL"]


def test_a_running_stack_has_no_settings_of_a_process_or_of_momento(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files()
    own = {"PORT": "6000", "DATABASE_POOL_SIZE": "3", "MOMENTO_API_KEY": "k" * 16, "MOMENTO_CACHE_NAME": "staging"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    defaults = {name: "" if each.default in (MISSING, None) else str(each.default) for name, each in DECLARED.items()}
    write_stack_env(config.local_dir(), {**defaults, **MINIMUM, "DDB_TABLE": "of-the-stack", "PORT": "5000"})
    assert load(DynamoDBSettings).ddb_table == "of-the-stack"
    assert load(PostgresSettings).database_pool_size == 3
    assert load(CacheSettings).momento_cache_name == "staging"
    written = (config.local_dir() / "stack.env").read_text().splitlines()
    assert {line.partition("=")[0] for line in written} == {
        name for name, each in DECLARED.items() if each.metadata["of_stack"]
    }


@pytest.mark.parametrize("anchor", ["DATABASE_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_COGNITO_USER_POOL_ID"])
@pytest.mark.parametrize("place", ["environment", "dotenv"])
def test_nothing_of_a_running_stack_is_mixed_into_another(
    anchor: str, place: str, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "http://127.0.0.1:8000" if "ENDPOINT" in anchor else "postgresql://elsewhere/cruddur"
    files(dotenv={anchor: other} if place == "dotenv" else {}, stack={**MINIMUM, "DDB_TABLE": "of-the-stack"})
    if place == "environment":
        monkeypatch.setenv(anchor, other)
    with pytest.raises(SettingsError) as raised:
        load(Settings)
    missing = {each.split()[0] for each in raised.value.problems}
    assert missing == MINIMUM.keys() - {anchor}
    assert "DDB_TABLE" not in os.environ


def test_given_variables_are_all_there_is(files: Files) -> None:
    files(dotenv=MINIMUM, stack=MINIMUM)
    assert len(problems({})) == len(MINIMUM)


def test_the_local_stack_is_in_the_checkout_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_DIR", "elsewhere")
    assert local_dir() == Path.cwd() / "elsewhere"
    monkeypatch.delenv("LOCAL_DIR")
    assert local_dir() == ROOT / ".local"


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost:8000", "http://LOCALHOST", "http://127.0.0.1:4566", "http://[::1]:4566"),
        *("http://dynamodb.test:8000", "postgresql://u:p@postgres.test:5432/cruddur"),
        "postgresql://postgres@/cruddur?host=%2Ftmp%2Fsocket",
    ],
)
def test_this_machine_and_the_compose_network_are_local(url: str) -> None:
    assert is_local(url)


@pytest.mark.parametrize(
    "url",
    [
        *(None, "", "not a url", "http://[::1", "http://test", "http://latest", "http://dynamodb.test.example.com"),
        *(
            "https://dynamodb.eu-central-1.amazonaws.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
        ),
        *("http://localhost@example.com", "http://192.0.2.1\\@localhost", "http://192.0.2.1\\@localhost/"),
        "postgresql://u:p@db.example.com/localhost",
    ],
)
def test_no_other_host_is_local(url: str | None) -> None:
    assert not is_local(url)
