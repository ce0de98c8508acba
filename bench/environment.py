"""What a run stands on: DynamoDB and Postgres with the data, the key of the users' tokens, and the servers."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg

from bench.scenarios import Dataset
from lib.aws.dynamodb_client import DynamoDBClient
from lib.config import ROOT, Settings, load
from lib.ddb.schema import create_table
from lib.ddb.table import Table
from lib.postgres.database import create_database
from lib.users.directory import User
from tools.cli.console import print_status
from tools.local_stack.environment import CREDENTIALS, REGION
from tools.local_stack.npm_engines import Dynoxide
from tools.local_stack.postgres import Postgres
from tools.local_stack.processes import LOOPBACK, Child, answers, bare_environment, free_port
from tools.local_stack.tokens import SigningKey, access_claims
from tools.seed.bulk import BulkLoader

API, BASELINE = "app:create_app", "bench.flask_baseline:create_app"
_PROBES = {API: "/api/health-check", BASELINE: "/floor"}

_POOL_ID, _CLIENT_ID = "us-east-1_Bench0001", "bench"
_TOKEN_SECONDS = 24 * 3600  # a token must outlive the run


class Server(Child):
    """The API or the baseline behind the server of production, on a free port of loopback."""

    log: Path

    def __init__(self, application: str, variables: Mapping[str, str], workers: int, folder: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        self._lines_read = 0
        super().__init__(
            application,
            [sys.executable, ROOT / "serve.py", application],
            env=bare_environment(**variables, PORT=str(port), WEB_CONCURRENCY=str(workers)),
            ready=answers(self.url + _PROBES[application]),
            log=folder / f"{port}.log",
            cwd=ROOT,
        )

    def cpu_seconds(self) -> float:
        """User and system time of the workers so far, as the kernel counts it."""
        times = [worker.cpu_times() for worker in self._workers()]
        return float(sum(time.user + time.system for time in times))

    def rss_mib(self) -> float:
        """Resident memory of the largest worker in MiB."""
        return max(worker.memory_info().rss for worker in self._workers()) / 2**20

    def logged_requests(self) -> list[dict[str, Any]]:
        """The log's lines about requests since the last call; the baseline logs none."""
        lines = self.log.read_bytes().split(b"\n")[:-1]  # the server may be writing the last one
        entries = [json.loads(line) for line in lines[self._lines_read :] if line.startswith(b"{")]
        self._lines_read = len(lines)
        return [entry for entry in entries if entry["event"] == "request"]

    def _workers(self) -> list[psutil.Process]:
        self.raise_if_dead()
        return psutil.Process(self.pid).children(recursive=True)


@dataclass(frozen=True, slots=True)
class Environment:
    """What runs during a whole run, and the settings that lead to it."""

    data: Dataset
    folder: Path
    key: SigningKey
    variables: Mapping[str, str]

    def token(self, user: User) -> str:
        """An access token of this user."""
        issuer = f"https://cognito-idp.{REGION}.amazonaws.com/{_POOL_ID}"
        claims = access_claims(user.uuid, issuer=issuer, client_id=_CLIENT_ID)
        return self.key.sign(claims | {"exp": claims["iat"] + _TOKEN_SECONDS})

    @contextmanager
    def servers(self, count: int, workers: int, cores: list[int]) -> Iterator[dict[str, list[Server]]]:
        """Servers by application, `count` of each, on these cores."""
        with ExitStack() as running:
            servers: dict[str, list[Server]] = {API: [], BASELINE: []}
            for application in (API, BASELINE) * count:
                server = running.enter_context(Server(application, self.variables, workers, self.folder))
                place(server.pid, cores)
                servers[application].append(server)
            yield servers


@contextmanager
def prepare(data: Dataset, folder: Path, engines: Path) -> Iterator[Environment]:
    """Start the engines and load them. Files go below `folder`, a downloaded engine below `engines`.

    Raises EngineError.
    """
    key, keys, port = SigningKey.generate("bench"), folder / "keys", free_port()
    keys.mkdir()
    (keys / "jwks.json").write_text(json.dumps({"keys": [key.jwk]}))
    jwks_url = f"http://{LOOPBACK}:{port}/jwks.json"
    command = [sys.executable, "-m", "http.server", str(port), "--bind", LOOPBACK, "--directory", str(keys)]
    with (
        Dynoxide(engines, log=folder / "dynoxide.log") as dynoxide,
        Postgres(folder / "postgres", log=folder / "postgres.log", durable=False) as postgres,
        Child("the JWKS", command, env=bare_environment(), ready=answers(jwks_url), log=folder / "keys.log"),
    ):
        variables = {
            **CREDENTIALS,
            "AWS_COGNITO_USER_POOL_ID": _POOL_ID,
            "AWS_COGNITO_USER_POOL_CLIENT_ID": _CLIENT_ID,
            "COGNITO_JWKS_URL": jwks_url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_DYNAMODB": dynoxide.url,
            "DDB_TABLE": "cruddur-bench",
            "DATABASE_URL": postgres.url("bench"),
            "SECRET_KEY": secrets.token_hex(),
            "HOST": LOOPBACK,
        }
        print_status("Loading the data …")
        settings = load(Settings, variables)
        _add_users(settings, data)
        _load_table(settings, data)
        yield Environment(data, folder, key, variables)


def _add_users(settings: Settings, data: Dataset) -> None:
    create_database(settings.database_url)
    rows = [
        (user.uuid, user.handle, user.display_name, f"{user.handle}@example.com", user.uuid) for user in data.users()
    ]
    with psycopg.connect(settings.database_url) as connection, connection.cursor() as cursor:
        cursor.execute((ROOT / "db/schema.sql").read_bytes())
        cursor.executemany(
            "INSERT INTO users (uuid, handle, display_name, email, cognito_user_id) VALUES (%s, %s, %s, %s, %s)", rows
        )


def _load_table(settings: Settings, data: Dataset) -> None:
    with closing(boto3.client("dynamodb", endpoint_url=settings.aws_endpoint_url_dynamodb)) as client:
        create_table(client, settings.ddb_table)
        # dynoxide gets slower with every record that a stream keeps.
        client.update_table(TableName=settings.ddb_table, StreamSpecification={"StreamEnabled": False})
    with closing(DynamoDBClient(settings)) as client:
        BulkLoader(Table(client, settings.ddb_table)).load(data.conversations())


def halve(cores: list[int]) -> tuple[list[int], list[int]]:
    """The cores of the servers, and those of their neighbours: engine, Postgres and wrk. A single core is both.

    So the servers limit the throughput, and their neighbours take no time from them.
    """
    half = len(cores) // 2
    return cores[:half] or cores, cores[half:]


def place(pid: int | None, cores: list[int]) -> None:
    """Keep a process, its children and all their threads on these cores; later children inherit them."""
    process = psutil.Process(pid)
    for member in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it has ended meanwhile
            for thread in member.threads():
                os.sched_setaffinity(thread.id, cores)
