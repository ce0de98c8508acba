"""Settings: their types, their sources in order, and the message that names every problem."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import MISSING
from pathlib import Path

import pytest
from limits import parse_many

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
    declarations,
    is_local,
    load,
    local_dir,
)
from tests.support import scripts
from tools.local_stack.environment import write_stack_env

MINIMUM = {
    "DATABASE_URL": "postgresql://cruddur:secret-of-the-database@db.example.com/cruddur",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_COGNITO_USER_POOL_ID": "us-east-1_AbCdEfGhI",
    "AWS_COGNITO_USER_POOL_CLIENT_ID": "3n4b5urk1ft4fl3mg5e62d9ado",
    "SECRET_KEY": "a secret key of 32 characters or more",
}
AWS_URLS = (
    *("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"),
    *("COGNITO_ISSUER", "COGNITO_JWKS_URL"),
)
POOL = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEfGhI"
LOCAL_HTTP = "it takes https://, or http:// with localhost, 127.0.0.1, [::1] or a host name that ends in .test"
DECLARED = declarations(Settings)

Files = Callable[..., None]


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(Settings, environ)
    return raised.value.problems


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Writes `.env` of a checkout and `stack.env` of a running local stack; the environment names no stack."""
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


def test_minimum_is_every_setting_without_a_default() -> None:
    settings = load(Settings, MINIMUM)
    values = (settings.ddb_table, settings.messages_order, settings.group_updates, settings.host, settings.port)
    assert values == ("cruddur-messages", "desc", "inline", "127.0.0.1", 4567)
    assert settings.aws_endpoint_url_dynamodb is None
    assert set(MINIMUM) == {name for name, setting in DECLARED.items() if setting.default is MISSING}


def test_missing_database_url_is_named_with_its_name_in_the_bootcamp() -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL is missing: .* \(the value of CONNECTION_URL\)$"):
        load(PostgresSettings, {"CONNECTION_URL": "postgresql://127.0.0.1/cruddur"})


@pytest.mark.parametrize("name", MINIMUM)
@pytest.mark.parametrize("blank", ["", "  "])
def test_missing_setting_is_named_with_its_meaning(name: str, blank: str) -> None:
    assert problems({**MINIMUM, name: blank}) == [f"{name} is missing: {DECLARED[name].metadata['meaning']}"]


def test_all_problems_are_named_at_once() -> None:
    names = [problem.split()[0] for problem in problems({"PORT": "http", "LOG_LEVEL": "loud"})]
    assert names == [name for name in DECLARED if name in (*MINIMUM, "PORT", "LOG_LEVEL")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://cruddur:hunter2@db.example.com/cruddur"),
        *(("DATABASE_URL", f"postgresql+iam://{rest}") for rest in ("a:hunter2@b/c", "b.example/c", "a@/c", "@b/c")),
        *(("SECRET_KEY", "hunter2" + "x" * 24), ("SECRET_KEY_FALLBACKS", "x" * 32 + ",hunter2")),
        *((name, "hunter2" + "\udcff" * 32) for name in ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "DDB_TABLE")),
        *(("MESSAGES_ORDER", "newest"), ("MESSAGES_ORDER", "DESC"), ("GROUP_UPDATES", "both"), ("LOG_LEVEL", "INFO")),
        *((name, value) for name in ("PORT", "WEB_THREADS") for value in ("0", "-1", "+1", "1.5", "1_000", "٣", "x")),
        *(("PORT", "65536"), ("WEB_CONCURRENCY", "257"), ("WEB_THREADS", "257"), ("DATABASE_POOL_SIZE", "501")),
        *(("FEED_WINDOW_SECONDS", value) for value in ("0", "9", "3601", "0.5", "10s")),
        *(("TRUSTED_PROXIES", value) for value in ("-1", "10", "all")),
        *(
            ("RATE_LIMIT_STORAGE_URL", value)
            for value in ("hunter2", "http://:hunter2@h", "redis://", "memory://hunter2", "redis://:hunter2/x@h")
        ),
        *(
            ("RATE_LIMIT_SENDS", value)
            for value in ("60", "0 per minute", "60/minute", "60 per minute;", "60 per 0 minutes", "60 per week", "OFF")
        ),
        *(
            (name, value)
            for name in (*AWS_URLS, "FRONTEND_URL", "BACKEND_URL")
            for value in ("localhost:8000", "ftp://localhost", "https://", "//localhost")
        ),
    ],
)
def test_malformed_setting_is_named_without_its_secret(name: str, value: str) -> None:
    (problem,) = problems({**MINIMUM, name: value})
    assert problem.startswith(f"{name} is ")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("name", "value", "correction"),
    [
        ("FRONTEND_URL", "https://cruddur.example:443", "a browser sends 'https://cruddur.example'"),
        ("FRONTEND_URL", "http://localhost:80", "a browser sends 'http://localhost'"),
        ("FRONTEND_URL", "https://cruddur.example/app", "a browser sends 'https://cruddur.example'"),
        ("FRONTEND_URL", "http://localhost:03000", "a browser sends 'http://localhost:3000'"),
        ("FRONTEND_URL", "https://b\u00fccher.example", "xn--bcher-kva.example"),
        ("FRONTEND_URL", "http://[0:0:0:0:0:0:0:1]:3000", "and a host"),
        ("FRONTEND_URL", "http://127.1:3000", "and a host"),
        ("FRONTEND_URL", "http://[fe80::1%25eth0]:3000", "and a host"),
        *(("FRONTEND_URL", f"http://localhost:3000,{other}", "begins with http") for other in ("", "*", "null", "a.b")),
        *(("FRONTEND_URL", f"https://{host}", "and a host") for host in ("*.example", "a b", "user@a.b", "-a", "a:0")),
        ("BACKEND_URL", "https://a.example,https://b.example", "and a host"),
        ("BACKEND_URL", "https://api.example?stage=1", "without ? # <"),
        ("BACKEND_URL", "https://api.example:99999", "and a host"),
        ("BACKEND_URL", "https://api.example/a>b", "without ? # < >"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://[::1", "and a host"),
        *(("AWS_DEFAULT_REGION", region, "such as us-east-1") for region in ("US-EAST-1", "us east 1", "../x")),
        *(("AWS_COGNITO_USER_POOL_ID", pool, "_AbCdEfGhI") for pool in ("AbCdEfGhI", "us-east-1_", "us-east-1_a/b")),
        *(("DDB_TABLE", table, "such as cruddur-messages") for table in ("cruddur messages", "b\u00fccher", "ab")),
        ("AWS_ENDPOINT_URL", "https://", "and a host"),
        *(("HOST", host, "an IP address, such as 127.0.0.1") for host in ("localhost", "*", "127.1", "[::1]", "a.b")),
    ],
)
def test_value_that_cannot_work_is_named_with_what_does(name: str, value: str, correction: str) -> None:
    [problem] = problems({**MINIMUM, name: value})
    assert problem.startswith(f"{name} is ")
    assert problem.endswith(correction) or correction in problem


@pytest.mark.parametrize("rates", ["1 per second", "60 per minute; 20 per 10 seconds", "5 per 2 days;1 per hour"])
def test_rates_are_in_the_notation_of_the_package_limits(rates: str) -> None:
    assert load(Settings, MINIMUM | {"RATE_LIMIT_SENDS": rates}).rate_limit_sends == rates
    assert len(parse_many(rates)) == len(rates.split(";"))


def test_limits_can_be_off_and_proxies_untrusted() -> None:
    settings = load(Settings, MINIMUM | {"RATE_LIMIT_SENDS": "off", "TRUSTED_PROXIES": "0"})
    assert (settings.rate_limit_sends, settings.trusted_proxies) == ("off", 0)


def test_url_of_the_counts_is_secret() -> None:
    url = "valkeys://:secret-of-the-store@store.example.com:6379/0"
    settings = load(Settings, MINIMUM | {"RATE_LIMIT_STORAGE_URL": url})
    assert settings.rate_limit_storage_url == url
    assert "secret-of-the-store" not in repr(settings)


def test_several_origins_are_allowed_and_that_of_the_api() -> None:
    variables = {
        "FRONTEND_URL": "https://cruddur.example/, http://LocalHost:3000,http://[::1]:3000",
        "BACKEND_URL": "HTTPS://api.example:443/stage",
    }
    settings = load(Settings, MINIMUM | variables)
    assert settings.backend_url == "https://api.example:443/stage"
    assert settings.origins == [
        *("https://cruddur.example", "http://localhost:3000", "http://[::1]:3000", "https://api.example")
    ]


def test_backend_url_follows_the_port() -> None:
    assert load(Settings, MINIMUM).backend_url == "http://localhost:4567"
    assert load(Settings, MINIMUM | {"PORT": "4650"}).backend_url == "http://localhost:4650"
    fixed = {"PORT": "4650", "BACKEND_URL": "https://api.example"}
    assert load(Settings, MINIMUM | fixed).backend_url == "https://api.example"


def test_key_signs_and_fallbacks_are_valid_too() -> None:
    old, older = "o" * 16, "p" * 16
    settings = load(Settings, MINIMUM | {"SECRET_KEY_FALLBACKS": f"{older}, {old}"})
    assert settings.secret_keys == [older, old, MINIMUM["SECRET_KEY"]]
    assert load(Settings, MINIMUM).secret_keys == [MINIMUM["SECRET_KEY"]]
    assert old not in repr(settings)


def test_values_are_typed_and_urls_lose_their_last_slash() -> None:
    variables = {"PORT": " 8080 ", "BACKEND_URL": "http://api.example.com/", "MESSAGES_ORDER": "asc"}
    settings = load(Settings, {**MINIMUM, **variables})
    values = (settings.port, settings.backend_url, settings.messages_order)
    assert values == (8080, "http://api.example.com", "asc")


def test_hints_come_from_the_database_itself_where_the_users_come_through_a_pooler() -> None:
    assert load(Settings, MINIMUM).live_database_url == MINIMUM["DATABASE_URL"]
    direct = "postgresql://cruddur@db.example.com:5432/cruddur"
    settings = load(Settings, {**MINIMUM, "LIVE_DATABASE_URL": direct})
    assert (settings.database_url, settings.live_database_url) == (MINIMUM["DATABASE_URL"], direct)


def test_section_needs_no_setting_of_another() -> None:
    assert load(PostgresSettings, {"DATABASE_URL": "postgres:///cruddur"}).database_url == "postgres:///cruddur"
    assert load(DynamoDBSettings, {"AWS_DEFAULT_REGION": "eu-central-1"}).ddb_table == "cruddur-messages"
    assert load(ApiSettings, {"SECRET_KEY": MINIMUM["SECRET_KEY"]}).web_threads == 8


@pytest.mark.parametrize(
    ("variables", "issuer", "keys"),
    [
        ({}, POOL, f"{POOL}/.well-known/jwks.json"),  # the pool's region differs from the table's
        ({"COGNITO_ISSUER": "https://id.test"}, "https://id.test", "https://id.test/.well-known/jwks.json"),
        ({"COGNITO_JWKS_URL": "http://cognito.test:4566/keys"}, POOL, "http://cognito.test:4566/keys"),
    ],
)
def test_issuer_and_key_url_default_to_those_of_the_pool(variables: dict[str, str], issuer: str, keys: str) -> None:
    settings = load(CognitoSettings, MINIMUM | variables)
    assert (settings.cognito_issuer, settings.cognito_jwks_url) == (issuer, keys)


@pytest.mark.parametrize("name", AWS_URLS)
def test_http_url_of_an_aws_service_leads_to_a_local_stack(name: str) -> None:
    for url in ("http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000", "http://dynamodb.test:8000"):
        assert getattr(load(Settings, {**MINIMUM, name: url}), name.lower()) == url
    for url in (
        "http://dynamodb.us-east-1.amazonaws.com",
        "http://127.0.0.1.example.com",
        "http://dynamodb-local:8000",
    ):
        assert problems({**MINIMUM, name: url}) == [f"{name} is {url!r}; {LOCAL_HTTP}"]
        load(Settings, {**MINIMUM, name: url.replace("http:", "https:")})


def test_http_url_of_other_aws_services_leads_to_a_local_stack() -> None:
    name, url = "AWS_ENDPOINT_URL", "http://dynamodb.us-east-1.amazonaws.com"
    for section in (Settings, DynamoDBSettings, CognitoSettings):
        with pytest.raises(SettingsError) as raised:
            load(section, {**MINIMUM, name: url})
        assert raised.value.problems == [f"{name} is {url!r}; {LOCAL_HTTP}"]
        for other in ("http://127.0.0.1:4566", url.replace("http:", "https:")):
            load(section, {**MINIMUM, name: other})
    load(PostgresSettings, {**MINIMUM, name: url})


def test_allowed_regions_apply_to_the_table_and_the_pool() -> None:
    load(Settings, {**MINIMUM, "ALLOWED_REGIONS": "eu-central-1, us-east-1"})
    assert problems({**MINIMUM, "ALLOWED_REGIONS": "us-east-1,eu-west-1"}) == [
        "AWS_DEFAULT_REGION is in the region eu-central-1; ALLOWED_REGIONS has us-east-1, eu-west-1"
    ]
    assert problems({**MINIMUM, "ALLOWED_REGIONS": "eu-central-1"}) == [
        "AWS_COGNITO_USER_POOL_ID is in the region us-east-1; ALLOWED_REGIONS has eu-central-1"
    ]
    with pytest.raises(SettingsError):
        load(DynamoDBSettings, {"AWS_DEFAULT_REGION": "eu-central-1", "ALLOWED_REGIONS": "us-east-1"})


def test_environment_precedes_dotenv(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files(dotenv={**MINIMUM, "DDB_TABLE": "from-dotenv", "LOG_LEVEL": "debug"})
    monkeypatch.setenv("DDB_TABLE", "from-environment")
    monkeypatch.setenv("LOG_LEVEL", "")  # counts as missing
    settings = load(Settings)
    assert (settings.ddb_table, settings.log_level) == ("from-environment", "debug")


def test_dotenv_is_exported_for_boto3_unless_it_is_disabled(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files(dotenv={**MINIMUM, "AWS_PROFILE": "cruddur"})
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "1")
    with pytest.raises(SettingsError):
        load(Settings)
    monkeypatch.delenv("PYTHON_DOTENV_DISABLED")
    load(Settings)
    assert os.environ["AWS_PROFILE"] == "cruddur"


def test_running_stack_overrides_all_its_settings_and_names_them(
    files: Files, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = {**MINIMUM, "DDB_TABLE": "of-the-stack", "GROUP_UPDATES": "stream"}
    files(dotenv={"DDB_TABLE": "from-dotenv"}, stack=stack)
    monkeypatch.setenv("GROUP_UPDATES", "inline")
    settings = load(Settings)
    assert (settings.ddb_table, settings.group_updates) == ("of-the-stack", "stream")
    assert "Ignored: DDB_TABLE, GROUP_UPDATES. The running local stack sets them in " in capsys.readouterr().err
    assert settings.database_url == MINIMUM["DATABASE_URL"]


def test_running_stack_has_no_settings_of_a_process_or_of_momento(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files()
    own = {"PORT": "6000", "DATABASE_POOL_SIZE": "3", "MOMENTO_API_KEY": "k" * 16, "MOMENTO_CACHE_NAME": "staging"}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    blank = dict.fromkeys(DECLARED, "")
    write_stack_env(config.local_dir(), {**blank, **MINIMUM, "DDB_TABLE": "of-the-stack", "PORT": "5000"})
    assert load(DynamoDBSettings).ddb_table == "of-the-stack"
    assert load(PostgresSettings).database_pool_size == 3
    assert load(CacheSettings).momento_cache_name == "staging"
    names = {line.partition("=")[0] for line in (config.local_dir() / "stack.env").read_text().splitlines()}
    assert names == {name for name, setting in DECLARED.items() if setting.metadata["of_stack"]}


@pytest.mark.parametrize(
    ("anchor", "other"),
    [
        ("DATABASE_URL", "postgresql://elsewhere/cruddur"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8000"),
        ("AWS_COGNITO_USER_POOL_ID", "us-east-1_Elsewhere"),
    ],
)
@pytest.mark.parametrize("is_in_environment", [True, False])
def test_setting_of_another_stack_excludes_the_running_stack(
    anchor: str, other: str, is_in_environment: bool, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(dotenv={} if is_in_environment else {anchor: other}, stack={**MINIMUM, "DDB_TABLE": "of-the-stack"})
    if is_in_environment:
        monkeypatch.setenv(anchor, other)
    with pytest.raises(SettingsError) as raised:
        load(Settings)
    assert {problem.split()[0] for problem in raised.value.problems} == MINIMUM.keys() - {anchor}
    assert "DDB_TABLE" not in os.environ


AWS = {"AWS_DEFAULT_REGION", "DATABASE_URL"}
POOL = {"AWS_COGNITO_USER_POOL_ID", "AWS_COGNITO_USER_POOL_CLIENT_ID"}


@pytest.mark.parametrize(
    ("command", "names"),
    [
        *(("ddb/seed", AWS), ("ddb/doctor", AWS), ("ddb/patterns/list-conversations", AWS), ("ddb/explain B", AWS)),
        ("ddb/explain C", AWS | {"SECRET_KEY"}),
        ("ddb/patterns/get-conversation --cursor x", {"AWS_DEFAULT_REGION", "SECRET_KEY"}),
        *(("cognito/setup", AWS), ("db/update_cognito_user_ids", AWS | POOL)),
    ],
)
def test_script_names_all_its_missing_settings_at_once(
    command: str, names: set[str], files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *arguments = command.split()
    assert scripts.load(name)(arguments) == 2
    assert {line.split()[0] for line in capsys.readouterr().err.splitlines()[:-1]} == names


def test_explicit_variables_replace_all_sources(files: Files) -> None:
    files(dotenv=MINIMUM, stack=MINIMUM)
    assert len(problems({})) == len(MINIMUM)


def test_local_stack_is_in_the_checkout_or_in_local_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_DIR", "elsewhere")
    assert local_dir() == Path.cwd() / "elsewhere"
    monkeypatch.delenv("LOCAL_DIR")
    assert local_dir() == ROOT / ".local"


LOCAL_URLS = [
    *("http://localhost:8000", "http://LOCALHOST", "http://127.0.0.1:4566", "http://[::1]:4566"),
    *("http://dynamodb.test:8000", "postgresql://u:p@postgres.test:5432/cruddur"),
]
OTHER_URLS = [
    *(None, "", "not a url", "http://[::1", "http://test", "http://latest", "http://dynamodb.test.example.com"),
    *("https://dynamodb.eu-central-1.amazonaws.com", "http://127.0.0.1.example.com", "http://localhost.example.com"),
    *("http://localhost@example.com", "http://192.0.2.1\\@localhost", "http://192.0.2.1\\@localhost/"),
    "postgresql://u:p@db.example.com/localhost",
]


@pytest.mark.parametrize("url", LOCAL_URLS + OTHER_URLS)
def test_local_urls_are_those_of_this_machine_and_the_compose_network(url: str | None) -> None:
    assert is_local(url) == (url in LOCAL_URLS)
