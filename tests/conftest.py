"""The fixtures of all tests: an environment without the developer's settings, and real engines.

`--engine` chooses the DynamoDB engine: `ministack` (the default), `dynamodb-local`, or the URL of a running one.
Cognito is always ministack, Postgres always the embedded one. An engine starts when a test first needs it.
Without `--engine` and `-m`, PATH holds only Python and coreutils.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest
from botocore.config import Config
from botocore.loaders import Loader

from lib import config
from lib.aws.dynamodb_client import DynamoDBClient
from lib.config import DynamoDBSettings
from lib.ddb.schema import create_table
from lib.postgres.database import create_database
from tests.support.fresh_machine import search_path
from tools.cli import tables
from tools.local_stack.environment import without_developer
from tools.local_stack.ministack import SERVICES, Ministack
from tools.local_stack.npm_engines import DynamoDBLocal
from tools.local_stack.postgres import Postgres
from tools.local_stack.processes import responds

_ENGINE_FIXTURES = {"dynamodb_url", "fresh_dynamodb_url"}
_BROWSER_TESTS = Path(__file__).parent / "browser"
_ENGINES = config.local_dir() / "engines"  # downloads are kept between runs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        default="ministack",
        help="the DynamoDB engine of the tests: ministack (default), dynamodb-local, or a URL",
    )
    parser.addoption("--pictures", help="the folder into which the tests in a browser write the pictures of README")


def pytest_configure(config: pytest.Config) -> None:
    engine = config.getoption("engine")
    if engine not in ("ministack", "dynamodb-local") and not engine.startswith(("http://", "https://")):
        raise pytest.UsageError(f"--engine is {engine!r}; it takes ministack, dynamodb-local or a URL")
    # No credentials, profile, endpoint, database or running local stack of the developer reaches a test.
    saved = dict(os.environ)
    folder = tempfile.mkdtemp(prefix="cruddur-no-stack-")

    def restore() -> None:
        os.environ.clear()
        os.environ.update(saved)
        shutil.rmtree(folder)

    config.add_cleanup(restore)
    # An interrupted run stops its engines too; and no test inherits signals that a shell's `&` or `nohup` ignores.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(without_developer(saved), LOCAL_DIR=folder)
    if engine == "ministack" and config.getoption("markexpr") not in ("bench", "browser", "typescript"):
        os.environ["PATH"] = search_path(Path(folder) / "path")


def pytest_report_header(config: pytest.Config) -> str:
    return f"engine: {config.getoption('engine')}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Read the tests in a browser with `-m browser` only: they import packages that requirements.txt does not have."""
    return True if collection_path == _BROWSER_TESTS and config.getoption("markexpr") != "browser" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--engine`, run only the tests that use the engine."""
    if config.getoption("engine") == "ministack":
        return
    using = [item for item in items if _ENGINE_FIXTURES & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=[item for item in items if item not in using])
    items[:] = using


@pytest.fixture(scope="session", autouse=True)
def cached_service_models() -> Iterator[None]:
    """Read botocore's service descriptions, megabytes of JSON, once a run instead of once a client."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("load_service_model", "load_data_with_path"):
            patch.setattr(Loader, name, cached(getattr(Loader, name)))
        yield


def cached(read: Callable[..., Any]) -> Callable[..., Any]:
    """The same method of a loader, with one cache for all loaders of the same files."""
    models: dict[Any, Any] = {}

    def read_cached(loader: Loader, *args: Any, **options: Any) -> Any:
        key = (type(loader.file_loader), *loader.search_paths, *args, *options.items())
        if key not in models:
            models[key] = read(loader, *args, **options)
        return models[key]

    return read_cached


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Restore the environment variables after each test."""
    saved = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture(autouse=True)
def own_log_level() -> Iterator[None]:
    """Restore the log level after each test; a level that its module has set stays."""
    log = logging.getLogger("cruddur")
    level = log.level
    yield
    log.setLevel(level)


@pytest.fixture(scope="session")
def engines() -> Path:
    """The folder into which npm installs the engines."""
    return _ENGINES


@pytest.fixture(scope="session")
def engine_folder() -> Iterator[Path]:
    """The folder of this run's engine data."""
    folder = Path(tempfile.mkdtemp(prefix="cruddur-test-"))
    folder.chmod(0o711)  # for the user of Postgres, if this one is root
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def ministack_url(engine_folder: Path) -> Iterator[str]:
    """A ministack in memory."""
    folder, services = engine_folder / "ministack", (*SERVICES, "secretsmanager")
    with Ministack(folder, log=engine_folder / "ministack.log", persistent=False, services=services) as engine:
        yield engine.url


def engine_scope(fixture_name: str, config: pytest.Config) -> Literal["module", "session"]:
    """DynamoDB Local gets slower with every transaction: each module starts a new one."""
    return "module" if config.getoption("engine") == "dynamodb-local" else "session"


@pytest.fixture(scope=engine_scope)
def dynamodb_url(request: pytest.FixtureRequest, engine_folder: Path) -> Iterator[str]:
    """The engine under test."""
    name: str = request.config.getoption("engine")
    if name == "ministack":
        yield request.getfixturevalue("ministack_url")
    elif name == "dynamodb-local":
        with DynamoDBLocal(_ENGINES, log=engine_folder / "dynamodb-local.log") as engine:
            yield engine.url
    else:
        if not responds(name, accept=lambda status: True)():
            pytest.exit(f"no DynamoDB responds at {name}", returncode=pytest.ExitCode.USAGE_ERROR)
        yield name


@pytest.fixture
def fresh_dynamodb_url(request: pytest.FixtureRequest, engine_folder: Path) -> Iterator[str]:
    """The engine under test; a DynamoDB Local of its own for a test with many transactions."""
    if request.config.getoption("engine") == "dynamodb-local":
        with DynamoDBLocal(_ENGINES, log=engine_folder / "fresh-dynamodb-local.log") as engine:
            yield engine.url
    else:
        yield request.getfixturevalue("dynamodb_url")


@pytest.fixture(scope=engine_scope)
def dynamodb_client(dynamodb_url: str) -> Iterator[Any]:
    """A boto3 client of the engine under test."""
    client = boto3.client("dynamodb", endpoint_url=dynamodb_url, config=Config(max_pool_connections=50))
    yield client
    client.close()


@pytest.fixture(scope="module", params=["own", "boto3"])
def connected(request: pytest.FixtureRequest, dynamodb_url: str) -> Iterator[Any]:
    """A client of the engine under test: first the API's, then the scripts'."""
    settings = DynamoDBSettings(
        aws_default_region=os.environ["AWS_DEFAULT_REGION"], aws_endpoint_url_dynamodb=dynamodb_url
    )
    client = DynamoDBClient(settings, pool_size=50) if request.param == "own" else tables.connect(settings)
    yield client
    client.close()


@pytest.fixture
def table(dynamodb_client: Any) -> Iterator[str]:
    """The name of an empty table of this test's own."""
    name = f"messages-{uuid.uuid4().hex}"
    create_table(dynamodb_client, name)
    yield name
    dynamodb_client.delete_table(TableName=name)


@pytest.fixture(scope="session")
def postgres_server(engine_folder: Path) -> Iterator[Postgres]:
    """The embedded Postgres. A test may stop and start it; its URLs stay the same."""
    with Postgres(engine_folder / "postgres", log=engine_folder / "postgres.log", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgres_server: Postgres) -> Callable[[], str]:
    """A function that creates an empty database and returns its URL."""

    def create() -> str:
        url = postgres_server.url(f"test_{uuid.uuid4().hex}")
        create_database(url)
        return url

    return create


@pytest.fixture(scope="module")
def postgres_url(new_database: Callable[[], str]) -> str:
    """The URL of an empty database of this module's own."""
    return new_database()
