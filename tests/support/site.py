"""The page and all that it needs, as ./bin/dev starts it: the real server, Cognito with people, databases."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import boto3
import psycopg

from lib.ddb.schema import create_table
from lib.ddb.table import Table
from lib.users.accounts import User
from tests.support.api_server import ApiServer
from tests.support.dev import authorization, call
from tests.support.stream_worker import stream_worker
from tools.local_stack.cognito import PASSWORD, LocalPool, ensure_pool, ensure_user
from tools.local_stack.environment import CREDENTIALS, REGION
from tools.local_stack.ministack import Ministack
from tools.local_stack.processes import LOOPBACK, free_port
from tools.postgres.migrations import migrate
from tools.seed.bulk import BulkLoader, NewConversation, NewMessage

JSON = dict[str, Any]

DEMO_HANDLES = ("demo-anna", "demo-bert")
TABLE = "messages"


@dataclass(frozen=True)
class Person:
    """A user of Cognito and Postgres, who can also call the API."""

    user: User
    email: str
    url: str
    authorization: str

    def write(self, text: str, *, to: Person) -> JSON:
        """Send a message; return the JSON of the response."""
        sent: JSON = self._call("/api/messages", {"message": text, "handle": to.user.handle})
        return sent

    def inbox(self) -> list[JSON]:
        rows: list[JSON] = self._call("/api/message_groups")
        return rows

    def texts(self, group: str) -> list[str]:
        """The newest messages of a conversation, the oldest of them first."""
        return [message["message"] for message in self._call(f"/api/messages/{group}?order=asc&limit=100")]

    def read(self, group: str, seq: int) -> None:
        self._call(f"/api/message_groups/{group}/read", {"seq": seq})

    def _call(self, path: str, body: JSON | None = None) -> Any:
        return call(self.url + path, body, Authorization=self.authorization)


@dataclass(frozen=True)
class Site:
    """The system at `url`. `cognito` and `dynamodb` are boto3 clients of its ministack."""

    url: str
    server: ApiServer
    database_url: str
    cognito: Any
    cognito_url: str
    dynamodb: Any
    pool: LocalPool

    def sign_up(self, name: str = "anna", *, display_name: str | None = None) -> Person:
        """A new user with this display name, or with the name's."""
        return self.add(f"{name}-{uuid.uuid4().hex[:8]}", display_name or name.title())

    def couple(self) -> tuple[Person, Person]:
        return self.sign_up("anna"), self.sign_up("bert")

    def fill(self, people: tuple[Person, Person], texts: Sequence[str], *, unread: int, days: int = 3) -> str:
        """A conversation with these texts within the last `days`, by turns from both; return its uuid.

        The last `unread` messages are from the second person, the one before them is from the first.
        """
        now, turn = datetime.now(UTC), len(texts) - unread
        messages = [
            NewMessage(
                uuid=str(uuid.uuid4()),
                sent_at=now - timedelta(days=days) * (1 - n / len(texts)),
                sender=people[1 if n >= turn else (turn - 1 - n) % 2].user,
                text=text,
            )
            for n, text in enumerate(texts)
        ]
        conversation = NewConversation(str(uuid.uuid4()), (people[0].user, people[1].user), messages)
        BulkLoader(Table(self.dynamodb, TABLE)).load([conversation])
        return conversation.group_uuid

    def execute(self, statement: LiteralString, *values: str) -> None:
        """Change users in Postgres. The processes with event streams drop their copies."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute(statement, values)

    def select(self, query: LiteralString, *values: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query, values).fetchall()

    def kill(self) -> None:
        """End the server and its workers by SIGKILL. `server.start()` starts it again."""
        assert self.server.pid
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.stop()

    def add(self, handle: str, display_name: str) -> Person:
        """A new user with exactly this handle."""
        user = User(uuid=str(uuid.uuid4()), handle=handle, display_name=display_name)
        email = f"{handle}@example.com"
        sub = ensure_user(self.cognito, self.pool, handle=handle, display_name=display_name, email=email)
        self.execute(
            "INSERT INTO users (uuid, handle, display_name, email, cognito_user_id) VALUES (%s, %s, %s, %s, %s)",
            *(user.uuid, handle, display_name, email, sub),
        )
        description = {"cognito": {"endpoint": self.cognito_url, "client_id": self.pool.client_id}}
        bearer = authorization(description, {"username": email, "password": PASSWORD})
        return Person(user, email, self.url, bearer)


def stranger(n: int) -> Person:
    """A person without a row in Postgres, whom only messages name."""
    return Person(User(uuid=str(uuid.uuid4()), handle=f"user-{n}", display_name=f"User {n}"), "", "", "")


@contextmanager
def run_site(folder: Path, database_url: str, *, mode: str = "inline") -> Iterator[Site]:
    """The system with two workers, as in production, and users for sign-in in one click.

    `mode` is `GROUP_UPDATES`: in stream mode, a stream worker runs too.
    """
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    migrate(database_url)
    with (
        Ministack(folder / "site", log=folder / "site-ministack.log", persistent=False, origins=url) as engine,
        closing(boto3.client("cognito-idp", endpoint_url=engine.url)) as cognito,
        closing(boto3.client("dynamodb", endpoint_url=engine.url)) as dynamodb,
    ):
        create_table(dynamodb, TABLE)
        pool = ensure_pool(cognito)
        variables = CREDENTIALS | {
            "BACKEND_URL": url,
            "DATABASE_URL": database_url,
            "DDB_TABLE": TABLE,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_DYNAMODB": engine.url,
            "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": engine.url,
            "AWS_COGNITO_USER_POOL_ID": pool.user_pool_id,
            "AWS_COGNITO_USER_POOL_CLIENT_ID": pool.client_id,
            "COGNITO_JWKS_URL": f"{engine.url}/{pool.user_pool_id}/.well-known/jwks.json",
            "WEB_CLIENT": "on",
            "DEMO_USERS": ",".join(DEMO_HANDLES),
            "DEMO_PASSWORD": PASSWORD,
            "WEB_CONCURRENCY": "2",
            "GROUP_UPDATES": mode,
        }
        with (
            stream_worker(folder, variables) if mode == "stream" else nullcontext(),
            ApiServer(folder / "site.log", port=port, **variables) as server,
        ):
            site = Site(url, server, database_url, cognito, engine.url, dynamodb, pool)
            for handle in DEMO_HANDLES:
                site.add(handle, handle.title())
            yield site
