"""Fixtures of the integration tests: the items of a table, the local stack's user pool, and an account to deploy to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from lib.postgres.database import create_database
from tests.support.deployed import Account, open_account, shared_packages
from tests.support.roles import deploy_schema
from tests.support.stores import TableContents
from tools.local_stack.cognito import LocalPool, ensure_pool
from tools.local_stack.postgres import Postgres


@pytest.fixture
def contents(dynamodb_client: Any, table: str) -> TableContents:
    """The items of the test's own table."""
    return TableContents(dynamodb_client, table)


@pytest.fixture(scope="session")
def cognito_client(ministack_url: str) -> Iterator[Any]:
    """A boto3 client of Cognito."""
    client = boto3.client("cognito-idp", endpoint_url=ministack_url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def user_pool(cognito_client: Any) -> LocalPool:
    """The local stack's pool; `ensure_user` puts users into it."""
    return ensure_pool(cognito_client)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Path]:
    """The functions' packages by the functions' names. All workers of a run share them."""
    folder = tmp_path_factory.getbasetemp()
    return shared_packages((folder.parent if hasattr(request.config, "workerinput") else folder) / "packages")


@pytest.fixture(scope="session")
def account(engine_folder: Path, packages: dict[str, Path], postgres_server: Postgres) -> Iterator[Account]:
    """An AWS account that stacks can be deployed to, with a database of users under the name that it has on AWS."""
    url = postgres_server.url("cruddur")
    create_database(url)
    deploy_schema(url)
    with open_account(engine_folder, packages.values(), url) as opened:
        yield opened
