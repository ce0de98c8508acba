"""The API under test: the whole application on the engine under test, an issuer of tokens, and people who call it.

A test module makes its own with `api = pytest.fixture(scope="module")(run_api)`. The tests of a module share table and
database. Each test signs up its own people, so the tests do not disturb each other.
"""

from __future__ import annotations

import io
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any, LiteralString
from unittest.mock import patch

import psycopg
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from lib.config import Settings, load
from lib.ddb.schema import create_table
from lib.logs import JsonFormatter
from lib.users.accounts import User
from tests.support.api_server import HIGH_LIMITS
from tests.support.roles import SUPERUSER, as_role, deploy_schema
from tests.support.stores import TableContents
from tests.support.tokens import TokenIssuer
from tests.support.users import add_users
from tools.local_stack.environment import CREDENTIALS

JSON = dict[str, Any]


class StrictClient(FlaskClient):
    """A test client for which a 500 is a failed test: the catch-all handler must not hide a bug."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        assert response.status_code != 500, (args, kwargs)
        return response


@dataclass(frozen=True)
class Person:
    """A signed-in user and their client."""

    user: User
    client: FlaskClient
    authorization: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": self.authorization}

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.client.get(path, headers=self.headers, query_string=query)

    def post(self, body: object) -> TestResponse:
        """Send a body as escaped JSON, which can also hold lone surrogates."""
        return self.post_bytes(json.dumps(body).encode())

    def post_bytes(self, body: bytes, *, content_type: str | None = "application/json", **options: Any) -> TestResponse:
        headers = {**self.headers, **options.pop("headers", {})}
        return self.client.post("/api/messages", headers=headers, data=body, content_type=content_type, **options)

    def write(self, text: str, *, to: Person) -> JSON:
        """Send a message to a user; return the JSON of the response."""
        return ok(self.post({"message": text, "handle": to.user.handle}))

    def reply(self, text: str, *, group: str) -> JSON:
        """Send a message into a conversation; return the JSON of the response."""
        return ok(self.post({"message": text, "message_group_uuid": group}))

    def block(self, other: Person) -> None:
        assert self.client.put(f"/api/blocks/@{other.user.handle}", headers=self.headers).status_code == 204

    def unblock(self, other: Person) -> None:
        assert self.client.delete(f"/api/blocks/@{other.user.handle}", headers=self.headers).status_code == 204

    def messages(self, group: str, **query: Any) -> list[JSON]:
        return ok(self.get(f"/api/messages/{group}", **query))

    def inbox(self, **query: Any) -> list[JSON]:
        return ok(self.get("/api/message_groups", **query))


@dataclass(frozen=True)
class Call:
    """One try of a DynamoDB request, as it left the process."""

    operation: str
    body: JSON


Response = tuple[int, dict[str, str], bytes]
"""Status, headers and body of a DynamoDB response."""


@dataclass(frozen=True)
class Api:
    """An application with `settings`; `dynamodb` is its client, `log` has its log lines.

    `boto3` is a boto3 client of the same DynamoDB.
    """

    app: Flask
    settings: Settings
    issuer: TokenIssuer
    log: io.StringIO
    boto3: Any

    @property
    def database_url(self) -> str:
        """The URL with which tests read and change everything. The application's own role may not."""
        return as_role(self.settings.database_url, SUPERUSER)

    @property
    def maintenance_url(self) -> str:
        """The URL that the scripts have on AWS."""
        return as_role(self.settings.database_url, "cruddur_maintenance")

    @property
    def dynamodb(self) -> Any:
        return self.app.extensions["dependencies"].store._table._client

    def sign_up(self, name: str = "somebody") -> Person:
        """A new user, in Postgres and signed in."""
        handle = f"{name}-{uuid.uuid4().hex[:12]}"
        user = User(uuid=str(uuid.uuid4()), handle=handle, display_name=name.title())
        add_users(self.database_url, user)
        return self.sign_in(user)

    def sign_in(self, user: User) -> Person:
        """Sign in an existing user at this application."""
        authorization = self.issuer.authorization(f"sub-{user.uuid}")
        return Person(user, self.app.test_client(), authorization)

    def couple(self) -> tuple[Person, Person]:
        return self.sign_up("anna"), self.sign_up("bert")

    def execute(self, statement: LiteralString, *values: object) -> None:
        """Change the database. Processes that do not listen may use their old copies of users for a minute."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute(statement, values or None)

    def server_variables(self) -> dict[str, str]:
        """The variables of a server in another process, on the same table, users and issuer."""
        names = ["database_url", "ddb_table", "aws_endpoint_url_dynamodb", "cognito_jwks_url"]
        names += ["aws_cognito_user_pool_id", "aws_cognito_user_pool_client_id"]
        return CREDENTIALS | {name.upper(): getattr(self.settings, name) for name in names}

    def lines(self) -> list[JSON]:
        """The log lines so far."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def items(self) -> list[JSON]:
        """Every item of the table, in the order of the keys."""
        items = TableContents(self.boto3, self.settings.ddb_table).items()
        return sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))

    @contextmanager
    def wire(self, respond: Callable[[Call], Response | None] = lambda _: None) -> Iterator[list[Call]]:
        """Record every try of a DynamoDB request; `respond` may return a response instead of the engine's, or raise."""
        calls: list[Call] = []
        connections = self.dynamodb.connections
        send = connections.post

        def post(headers: dict[str, str], body: bytes, *, seconds: float) -> Response:
            call = Call(headers["X-Amz-Target"].rpartition(".")[2], json.loads(body))
            calls.append(call)
            return respond(call) or send(headers, body, seconds=seconds)

        with patch.object(connections, "post", post):
            yield calls

    @contextmanager
    def variant(self, **changes: Any) -> Iterator[Api]:
        """Another application on the same table, users and issuer, with other settings."""
        with serve(replace(self.settings, **changes), self.issuer, self.boto3) as other:
            yield other


@contextmanager
def serve(settings: Settings, issuer: TokenIssuer, boto3: Any) -> Iterator[Api]:
    """An application. At the end, close its clients, and restore the log handlers and the log level."""
    log = io.StringIO()
    root, own = logging.getLogger(), logging.getLogger("cruddur")
    level = own.level
    outer = [handler for handler in root.handlers if isinstance(handler.formatter, JsonFormatter)]
    with redirect_stdout(log):
        app = create_app(settings)
    app.test_client_class = StrictClient
    api = Api(app, settings, issuer, log, boto3)
    try:
        yield api
    finally:
        root.handlers[:] = outer
        own.setLevel(level)
        app.extensions["dependencies"].users._database.close()
        api.dynamodb.close()


def run_api(dynamodb_client: Any, dynamodb_url: str, new_database: Callable[[], str]) -> Iterator[Api]:
    """The fixture: an application with a table and a database of its own."""
    url, table = new_database(), f"messages-{uuid.uuid4().hex}"
    deploy_schema(url)
    create_table(dynamodb_client, table)
    with TokenIssuer() as issuer:
        settings = load(
            Settings,
            {
                "DATABASE_URL": as_role(url, "cruddur_api"),
                "AWS_DEFAULT_REGION": "us-east-1",
                "DDB_TABLE": table,
                "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
                "AWS_COGNITO_USER_POOL_ID": "us-east-1_Test00001",
                "AWS_COGNITO_USER_POOL_CLIENT_ID": issuer.client_id,
                "COGNITO_JWKS_URL": issuer.jwks_url,
                "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": issuer.url,
                **HIGH_LIMITS,
                "SECRET_KEY": "a secret key of 32 characters or more",
                "LOG_LEVEL": "debug",
            },
        )
        with serve(settings, issuer, dynamodb_client) as api:
            yield api
    dynamodb_client.delete_table(TableName=table)


def ok(response: TestResponse) -> Any:
    """The JSON of a response, which must be a 200."""
    assert response.status_code == 200, response.get_data(as_text=True)
    return response.json


def refused(response: TestResponse) -> tuple[int, list[str]]:
    """The status and the codes of a refusal. Its body has only the codes."""
    assert response.mimetype == "application/json"
    return response.status_code, response.json


def aws_error(status: int, code: str, **fields: Any) -> Callable[[Call], Response]:
    """A function for `Api.wire` that responds to every request with this error."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "made up by a test", **fields}
    headers = {"content-type": "application/x-amz-json-1.0"}
    return lambda call: (status, headers, json.dumps(body).encode())
