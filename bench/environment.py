"""What stands under a measurement: the engine's table, Postgres with the users, the keys of their tokens, the servers.

What the servers use is read from outside: the kernel's counts of their workers, and the API's log.
"""

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

from bench.dataset import Dataset
from lib.aws.dynamodb_client import DynamoDBClient
from lib.config import ROOT, Settings, load
from lib.ddb.schema import create_table
from lib.ddb.table import Table
from lib.postgres.database import Database, create_database
from lib.users.directory import User
from tools.local_stack.dynoxide import Dynoxide
from tools.local_stack.environment import CREDENTIALS, REGION
from tools.local_stack.ministack import Ministack
from tools.local_stack.processes import LOOPBACK, Child, answers, bare_environment, free_port
from tools.local_stack.tokens import SigningKey, access_claims
from tools.seed.bulk import BulkLoader

DYNOXIDE, MINISTACK = ENGINES = ("dynoxide", "ministack")
"""The fastest, so that the engine is not what is slow; and the one that needs no npm."""

API, BASELINE = "app:create_app", "bench.flask_baseline:create_app"
_PROBES = {API: "/api/health-check", BASELINE: "/floor"}

_ISSUER = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Bench0001"
_CLIENT_ID = "bench"
_TOKEN_SECONDS = 24 * 3600  # a token must outlive the run


def make_engine(name: str, folder: Path, downloads: Path) -> Dynoxide | Ministack:
    """An engine that can be started."""
    log = folder / f"{name}.log"
    return Dynoxide(downloads, log=log) if name == DYNOXIDE else Ministack(folder / name, log=log, persistent=False)


class Server(Child):
    """The API or the baseline behind the server of production, on a free port of loopback."""

    def __init__(self, application: str, variables: Mapping[str, str], workers: int, folder: Path) -> None:
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        self._file = folder / f"{port}.log"
        self._read = 0
        super().__init__(
            application,
            [sys.executable, ROOT / "serve.py", application],
            env=bare_environment(**variables, PORT=str(port), WEB_CONCURRENCY=str(workers)),
            ready=answers(self.url + _PROBES[application]),
            log=self._file,
            cwd=ROOT,
        )

    def cpu_seconds(self) -> float:
        """User and system time of the workers so far."""
        times = [worker.cpu_times() for worker in self._workers()]
        return float(sum(each.user + each.system for each in times))

    def rss_mib(self) -> float:
        """Resident memory of the largest worker, in MiB, as top shows it."""
        return max(worker.memory_info().rss for worker in self._workers()) / 2**20

    def logged_requests(self) -> list[dict[str, Any]]:
        """The log's lines of requests since the last call; none of a server that does not write them."""
        with self._file.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]  # a line may be being written
        self._read += len(whole)
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        return [line for line in lines if line["event"] == "request"]

    def _workers(self) -> list[psutil.Process]:
        self.raise_if_dead()
        return psutil.Process(self.pid).children(recursive=True)


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything that runs during a whole run, and the settings that lead to it."""

    data: Dataset
    key: SigningKey
    variables: Mapping[str, str]
    folder: Path

    def token(self, user: User) -> str:
        """An access token of this user."""
        claims = access_claims(_sub(user), issuer=_ISSUER, client_id=_CLIENT_ID)
        return self.key.sign(claims | {"exp": claims["iat"] + _TOKEN_SECONDS})

    def load_table(self) -> None:
        """Make and fill the table."""
        settings = load(Settings, self.variables)
        with closing(boto3.client("dynamodb", endpoint_url=settings.aws_endpoint_url_dynamodb)) as client:
            create_table(client, settings.ddb_table)
            # An engine gets slower with every record that a stream keeps.
            client.update_table(TableName=settings.ddb_table, StreamSpecification={"StreamEnabled": False})
        with closing(DynamoDBClient(settings)) as client:
            BulkLoader(Table(client, settings.ddb_table)).load(self.data.plan())

    @contextmanager
    def servers(self, count: int, workers: int, cores: list[int]) -> Iterator[dict[str, list[Server]]]:
        """So many servers of either application, with so many workers each, on these cores."""
        made = {
            application: [Server(application, self.variables, workers, self.folder) for _ in range(count)]
            for application in (API, BASELINE)
        }
        with ExitStack() as running:
            for server in (*made[API], *made[BASELINE]):
                place(running.enter_context(server).pid, cores)
            yield made


def set_up(
    endpoint_url: str, database_url: str, data: Dataset, passed_on: Mapping[str, str], folder: Path, running: ExitStack
) -> Environment:
    """Users and the keys of their tokens, before anything is loaded. `passed_on` are settings of whoever measures."""
    create_database(database_url)
    with Database(database_url) as database:
        database.script("db/schema.sql")
    users = [
        (user.uuid, user.handle, user.display_name, f"{user.handle}@example.com", _sub(user)) for user in data.users()
    ]
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO users (uuid, handle, display_name, email, cognito_user_id) VALUES (%s, %s, %s, %s, %s)", users
        )
    key, port, keys = SigningKey.generate("bench"), free_port(), folder / "keys"
    keys.mkdir()
    (keys / "jwks.json").write_text(json.dumps({"keys": [key.jwk]}))
    cognito_url = f"http://{LOOPBACK}:{port}"
    command = [sys.executable, "-m", "http.server", str(port), "--bind", LOOPBACK, "--directory", str(keys)]
    ready, log = answers(f"{cognito_url}/jwks.json"), folder / "keys.log"
    running.enter_context(Child("the JWKS", command, env=bare_environment(), ready=ready, log=log))
    variables = {
        **passed_on,
        **CREDENTIALS,
        "AWS_COGNITO_USER_POOL_ID": _ISSUER.rpartition("/")[2],
        "AWS_COGNITO_USER_POOL_CLIENT_ID": _CLIENT_ID,
        "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": cognito_url,
        "COGNITO_JWKS_URL": f"{cognito_url}/jwks.json",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint_url,
        "DDB_TABLE": "cruddur-bench",
        "DATABASE_URL": database_url,
        "SECRET_KEY": secrets.token_hex(),
        "HOST": LOOPBACK,
    }
    return Environment(data, key, variables, folder)


def halved(cores: list[int]) -> tuple[list[int], list[int]]:
    """The cores of what is measured and those of its neighbours (engine, Postgres, wrk); a single one is both.

    So what is measured bounds the throughput, and its neighbours take their time from other cores.
    """
    half = len(cores) // 2
    return cores[:half] or cores, cores[half:]


def place(pid: int | None, cores: list[int]) -> None:
    """Keep a process, its children and all their threads to these cores; what they start later inherits it."""
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # gone meanwhile
            for thread in each.threads():
                os.sched_setaffinity(thread.id, cores)


def _sub(user: User) -> str:
    return f"sub-{user.uuid}"
